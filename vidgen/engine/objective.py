"""What a run trains: the objective of its family, or reward fine-tuning of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset
from vidgen.data.loader import eval_batches
from vidgen.models.base import Objective, build_objective


def objective_of(config: RunConfig) -> Objective:
    """The untrained objective of a run. The caller seeds torch."""
    base = build_objective(config)
    reward = config.reward
    if reward is None:
        return base
    from vidgen.rl.objective import RewardObjective

    guidance = config.sampling.guidance if reward.guidance is None else reward.guidance
    return RewardObjective(reward, base, guidance=guidance)


def doubts_of(objective: Objective, config: RunConfig) -> list[str]:
    """What about a reward run is too small to learn from; nothing about other runs."""
    if config.reward is None:
        return []
    from vidgen.rl.objective import RewardObjective
    from vidgen.rl.size import doubts

    assert isinstance(objective, RewardObjective)
    return doubts(config.reward, config.train, compares=objective.learner.compares)


def begin(objective: Objective, weights: Mapping[str, Tensor]) -> None:
    """Give a reward objective the weights it starts with."""
    from vidgen.rl.objective import RewardObjective

    assert isinstance(objective, RewardObjective)
    objective.begin(weights)


def show_real_clips(objective: Objective, dataset: Dataset, config: RunConfig) -> None:
    """Let rewards see what real video is like: the same clips on every rank."""
    if config.reward is None:
        return
    from vidgen.rl.objective import RewardObjective

    assert isinstance(objective, RewardObjective)
    real = real_clips(dataset, config, config.reward.real_clips)
    objective.fit(real.to(next(objective.parameters()).device))


def real_clips(dataset: Dataset, config: RunConfig, count: int) -> Tensor:
    """(N, C, T, H, W) training clips in [-1, 1], always the same ones."""
    clips = [
        part.batch.video
        for part in eval_batches(
            dataset, config, split="train", limit=count, batch_size=16, rank=0, world=1,
            conditions=[],
        )
    ]  # fmt: skip
    return torch.cat(clips)
