"""Clipped policy gradient on group advantages (arXiv:2402.03300; for flows arXiv:2505.05470)."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Generator, Tensor

from vidgen.models.base import Objective
from vidgen.models.learnable import Path, Policy
from vidgen.rl.learners.base import Learner, Rollouts
from vidgen.types import Condition, Losses

_DECISIONS = 4  # of a path, that a step learns from where each one costs


class PolicyGradient(Learner):
    """For models whose videos are random decisions of known probability."""

    name = "policy"

    @classmethod
    def refuses(cls, objective: Objective, differentiable: bool) -> str | None:
        if isinstance(objective.model, Policy):
            return None
        return "the model knows no probabilities of what it makes"

    @torch.no_grad()
    def make(
        self, cond: Condition, n: int, guidance: float, generator: Generator
    ) -> tuple[Tensor, Any]:
        path = cast(Policy, self.behaviour).rollout(
            cond, n, guidance=guidance, noise=self.config.noise, generator=generator
        )
        return path.video, path

    def loss(self, rollouts: Rollouts, guidance: float) -> Losses:
        paths: list[Path] = rollouts.how
        path = Path(
            video=rollouts.video,
            states=torch.cat([each.states for each in paths]),
            decisions=paths[0].decisions,
            together=paths[0].together,
        )
        stream = Generator().manual_seed(int(rollouts.seed[0]))
        count = path.decisions if path.together else min(_DECISIONS, path.decisions)
        chosen = torch.randperm(path.decisions, generator=stream)[:count].sort().values

        def log_probs(model: object) -> Tensor:
            return cast(Policy, model).log_probs(
                path, rollouts.cond, chosen, guidance=guidance, noise=self.config.noise
            )

        now = log_probs(self.model)
        with torch.no_grad():
            first = log_probs(self.start)
            # Without decay the behaviour's weights are those that learn.
            before = log_probs(self.behaviour) if self.config.behaviour_decay else now.detach()
        gain = rollouts.advantage[:, None]
        ratio = (now - before).exp()
        limited = ratio.clamp(1 - self.config.clip, 1 + self.config.clip)
        reward = torch.minimum(ratio * gain, limited * gain).mean()
        # The estimate of the divergence that is never negative.
        gap = first - now
        kl = (gap.exp() - gap - 1).mean()
        clipped = ((ratio - 1).abs() > self.config.clip).float().mean()
        return Losses(
            total=self.config.kl * kl - reward,
            parts={"kl": kl.detach(), "clipped": clipped},
        )
