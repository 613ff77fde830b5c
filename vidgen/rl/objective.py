"""The Objective of reward fine-tuning: it makes videos, scores them and learns from the scores.

To the loop it is an objective as any other. Conditions come with the batches; the real videos of a
batch are not looked at. Everything random follows from `batch.seed`, so ranks, parts and restarts
change nothing.
Legend: B conditions, G videos of each, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Generator, Tensor

from vidgen.config.reward import RewardConfig
from vidgen.models.base import Objective, VideoModel
from vidgen.rl.learners.backprop import Backprop
from vidgen.rl.learners.base import Rollouts
from vidgen.rl.learners.table import choose_learner
from vidgen.rl.score import Scorer
from vidgen.types import Batch, Condition, Losses

_PAIR = 2  # videos of a held-out condition: how they differ is the diversity


class RewardObjective(Objective):
    """Wraps the objective of a family, whose model goes on learning.

    Args:
        base: of the family.
        guidance: of rollouts.

    Attributes:
        model: what learns; behaviour: follows it and makes the rollouts; start: stays what it was.

    Raises ConfigError when the family does not suit the learner.
    """

    parts_are_losses: ClassVar[bool] = False

    def __init__(self, config: RewardConfig, base: Objective, *, guidance: float) -> None:
        super().__init__()
        self.config, self.guidance = config, guidance
        self.model = base.model
        self.behaviour, self.start = _frozen(base.model), _frozen(base.model)
        self.rewards = Scorer(config.rewards, config.options)
        self.guards = Scorer(dict.fromkeys(config.guards, 1.0), config.options)
        kind = choose_learner(config, base, self.rewards.differentiable)
        self.learner = kind(config, base, self.behaviour, self.start)
        if isinstance(self.learner, Backprop):
            self.learner.score = lambda video, cond: self.rewards.weighted(
                self.rewards(video, cond)
            )
        self._followed: int | None = None
        self._first: dict[tuple[int, ...], Tensor] = {}

    def begin(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the start's weights. Raises RuntimeError if they are of another model."""
        for model in (self.model, self.behaviour, self.start):
            model.load_state_dict(weights)

    def fit(self, real: Tensor) -> None:
        """See real clips, (N, C, T, H, W) in [-1, 1]: before the first loss."""
        self.rewards.fit(real)
        self.guards.fit(real)

    def blocks(self) -> list[torch.nn.Module]:
        """The model's: the other two are only ever looked at."""
        return [
            module
            for module in super().blocks()
            if any(weight.requires_grad for weight in module.parameters())
        ]

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        """Losses of the learner on new rollouts for the batch's conditions.

        Parts besides the learner's: reward and reward_NAME, means over the rollouts; alike, the
        share of groups whose videos all score the same, where the learner compares them.
        """
        self._follow(step)
        group = self.config.group
        videos, seeds, hows = [], [], []
        for part in self._parts(batch):
            stream = Generator().manual_seed(int(part.seed[0]))
            cond = self._asked(part, group)
            video, how = self.learner.make(cond, len(part) * group, self.guidance, stream)
            videos.append(video)
            hows.append(how)
            seeds.append(torch.randint(2**62, (len(video),), generator=stream))
        video, cond = torch.cat(videos), self._asked(batch, group)
        with torch.no_grad():
            scores = self.rewards(video, cond)
            advantage = self.rewards.advantages(scores, group)
        rollouts = Rollouts(
            video=video, cond=cond, seed=torch.cat(seeds), advantage=advantage, how=hows
        )
        losses = self.learner.loss(rollouts, self.guidance)
        parts = {"reward": self.rewards.weighted(scores).mean()}
        parts |= {f"reward_{name}": score.mean() for name, score in scores.items()}
        if self.learner.compares:
            parts["alike"] = (advantage.reshape(-1, group) == 0).all(1).float().mean()
        return Losses(total=losses.total, parts={**parts, **losses.parts})

    @torch.no_grad()
    def validation_loss(self, batch: Batch) -> Losses:
        """`total` is the weighted reward of held-out conditions, negative, (B,).

        Parts: reward and reward_start, what the start gets; reward_NAME; guard_NAME and
        guard_NAME_start; diversity and diversity_start
        (mean absolute difference of two videos of a condition), moved (mean squared distance from
        what the start makes of the same noise).
        """
        now, first = self._pairs(self.model, batch), self._start_pairs(batch)
        cond = self._asked(batch, 1)
        scores = self.rewards(now[:, 0], cond)
        reward = self.rewards.weighted(scores)
        parts = {"reward": reward, **{f"reward_{name}": s for name, s in scores.items()}}
        parts["reward_start"] = self.rewards.weighted(self.rewards(first[:, 0], cond))
        for name, score in self.guards(now[:, 0], cond).items():
            parts[f"guard_{name}"] = score
        for name, score in self.guards(first[:, 0], cond).items():
            parts[f"guard_{name}_start"] = score
        for suffix, videos in (("", now), ("_start", first)):
            parts[f"diversity{suffix}"] = (videos[:, 0] - videos[:, 1]).abs().flatten(1).mean(1)
        parts["moved"] = (now - first).square().flatten(1).mean(1)
        return Losses(total=-reward, parts=parts)

    def _follow(self, step: int) -> None:
        """Once a step, the behaviour comes a little nearer to the trained weights."""
        if step == self._followed:
            return
        self._followed = step
        near = 1 - self.config.behaviour_decay
        with torch.no_grad():
            for old, new in zip(self.behaviour.parameters(), self.model.parameters(), strict=True):
                old.lerp_(new, near)
            for kept, now in zip(self.behaviour.buffers(), self.model.buffers(), strict=True):
                kept.copy_(now)

    def _parts(self, batch: Batch) -> list[Batch]:
        """What is made in one go: a condition's videos come from its own seed. All of them where
        chance has no part."""
        if not self.model.random:
            return [batch]
        return [batch[row : row + 1] for row in range(len(batch))]

    def _asked(self, batch: Batch, times: int) -> Condition:
        """The conditions, each so many times over."""
        return batch.cond.only(*self.model.conditions).map(
            lambda value: value.repeat_interleave(times, 0)
        )

    def _pairs(self, model: VideoModel, batch: Batch) -> Tensor:
        """(B, 2, C, T, H, W), each pair from its condition's own seed."""
        made = [
            model.sample(
                self._asked(part, _PAIR),
                len(part) * _PAIR,
                guidance=self.guidance,
                generator=Generator().manual_seed(int(part.seed[0])),
            )
            for part in self._parts(batch)
        ]
        videos = torch.cat(made).float()  # (B * 2, C, T, H, W)
        return videos.view(len(batch), _PAIR, *videos.shape[1:])

    def _start_pairs(self, batch: Batch) -> Tensor:
        """What the start makes, which stays the same: made once."""
        key = tuple(batch.seed.tolist())
        if key not in self._first:
            self._first[key] = self._pairs(self.start, batch).half().cpu()
        return self._first[key].to(batch.video.device).float()


def _frozen(model: VideoModel) -> VideoModel:
    return copy.deepcopy(model).requires_grad_(False).eval()
