"""DiffusionNFT (arXiv:2509.16117): learn from better and worse rollouts by the denoiser's own loss.

The estimate of the trained weights moves the behaviour's one way for better rollouts and the other
way for worse ones; no probabilities and no path are needed, so any sampler may make the rollouts.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from vidgen.models.base import Objective
from vidgen.models.learnable import Denoiser, Noising
from vidgen.rl.learners.base import Learner, Rollouts, per_sample
from vidgen.types import Batch, Losses

_FULL = 2.0  # an advantage that counts in full, standard deviations


class Nft(Learner):
    """For denoisers."""

    name = "nft"

    @classmethod
    def refuses(cls, objective: Objective, differentiable: bool) -> str | None:
        if isinstance(objective, Noising) and isinstance(objective.model, Denoiser):
            return None
        return "the model removes no noise"

    def loss(self, rollouts: Rollouts, guidance: float) -> Losses:
        draws = self.config.draws
        cond = rollouts.cond.map(lambda value: _again(value, draws))
        batch = Batch(
            video=_again(rollouts.video, draws),
            cond=cond,
            seed=torch.cat([rollouts.seed + n for n in range(draws)]),
        )
        made = cast(Noising, self.objective).noised(batch)
        advantage = _again(rollouts.advantage, draws)  # (K B G,) for K draws
        now = cast(Denoiser, self.model).estimate(made.noisy, made.t, cond)
        with torch.no_grad():
            before = cast(Denoiser, self.behaviour).estimate(made.noisy, made.t, cond)
            first = cast(Denoiser, self.start).estimate(made.noisy, made.t, cond)
        strength = self.config.strength
        good = (0.5 + 0.5 * advantage / _FULL).clamp(0, 1)
        step = strength * (now - before)
        better = per_sample((before + step - made.clean).square())
        worse = per_sample((before - step - made.clean).square())
        apart = made.weight * per_sample((now - first).square())
        contrast = made.weight * (good * better + (1 - good) * worse)
        return Losses(
            total=contrast.mean() / strength + self.config.kl * apart.mean(),
            parts={"contrast": contrast.mean().detach(), "kl": apart.mean().detach()},
        )


def _again(rows: Tensor, times: int) -> Tensor:
    """All rows, that many times over."""
    return rows.repeat(times, *[1] * (rows.ndim - 1))
