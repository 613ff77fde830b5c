"""Validation loss of the averaged weights over a fixed part of the val split."""

from __future__ import annotations

from collections import defaultdict

import torch

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset
from vidgen.data.loader import eval_batches
from vidgen.engine.distributed import Ranks
from vidgen.engine.state import State


@torch.no_grad()
def validate(state: State, dataset: Dataset, config: RunConfig, ranks: Ranks) -> dict[str, float]:
    """`val_loss` and its parts, each a mean over clips.

    Ranks share the clips and add up, so the numbers do not depend on how many there are.
    """
    train = config.train
    sums: dict[str, float] = defaultdict(float)
    batches = eval_batches(
        dataset,
        config,
        split="val",
        limit=train.validate_clips,
        batch_size=max(1, train.batch_size // (ranks.world * train.accumulate)),
        rank=ranks.rank,
        world=ranks.world,
        conditions=sorted(state.objective.model.conditions),
    )
    objective = state.objective.eval()
    prefix = "val_loss_" if objective.parts_are_losses else "val_"
    with state.averaged():
        for held_out in batches:
            with state.precision.autocast():
                losses = objective.validation_loss(held_out.batch.to(ranks.device))
            sums["clips"] += len(held_out.rows)
            sums["val_loss"] += losses.total.double().sum().item()
            for part, values in losses.parts.items():
                sums[f"{prefix}{part}"] += values.double().sum().item()
    objective.train()
    totals: dict[str, float] = defaultdict(float)
    for each in ranks.gather(dict(sums)):
        for name, value in each.items():
            totals[name] += value
    clips = totals.pop("clips")
    return {name: value / clips for name, value in totals.items()}
