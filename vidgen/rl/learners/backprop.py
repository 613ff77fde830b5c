"""Reward back-propagation (arXiv:2309.17400): differentiate the rewards through the sampler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Generator, Tensor

from vidgen.models.base import Objective
from vidgen.rl.learners.base import Learner, Rollouts, per_sample
from vidgen.types import Condition, Losses

# (video, cond) -> (B,) weighted rewards, differentiable
Score = Callable[[Tensor, Condition], Tensor]


class Backprop(Learner):
    """For one-pass models and rewards that can be differentiated."""

    name = "backprop"
    compares = False
    score: Score

    @classmethod
    def refuses(cls, objective: Objective, differentiable: bool) -> str | None:
        if not objective.model.differentiable:
            return "its sampler keeps no gradient"
        return None if differentiable else "a reward cannot be differentiated"

    def make(
        self, cond: Condition, n: int, guidance: float, generator: Generator
    ) -> tuple[Tensor, Any]:
        state = generator.get_state()
        video = self.model.sample_with_grad(cond, n, generator=generator)
        return video.detach(), (cond, video, state)

    def loss(self, rollouts: Rollouts, guidance: float) -> Losses:
        rewards, apart = [], []
        for cond, video, state in rollouts.how:
            generator = Generator()
            generator.set_state(state)
            first = self.start.sample(cond, len(video), generator=generator)
            rewards.append(self.score(video, cond))
            apart.append(per_sample((video - first).square()))
        reward, gap = torch.cat(rewards).mean(), torch.cat(apart).mean()
        return Losses(total=self.config.kl * gap - reward, parts={"kl": gap.detach()})
