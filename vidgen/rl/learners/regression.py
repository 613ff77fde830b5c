"""Reward-weighted regression (Peters & Schaal 2007): the family's own loss on its best rollouts.

Works for every family, since all it needs is what supervised training needs.
"""

from __future__ import annotations

import torch

from vidgen.errors import ModelError
from vidgen.models.base import Objective
from vidgen.rl.learners.base import Learner, Rollouts
from vidgen.types import Batch, Losses


class Regression(Learner):
    """Trains on rollouts of positive advantage, in proportion to it."""

    name = "regression"

    @classmethod
    def refuses(cls, objective: Objective, differentiable: bool) -> str | None:
        return None

    def loss(self, rollouts: Rollouts, guidance: float) -> Losses:
        if list(self.objective.turns()) != ["model"]:
            raise ModelError("reward-weighted regression needs a family of one network")
        share = rollouts.advantage.clamp_min(0)
        batch = Batch(video=rollouts.video, cond=rollouts.cond, seed=rollouts.seed)
        total = rollouts.video.new_zeros(())
        for row, weight in enumerate(share.tolist()):
            if weight > 0:
                part = self.objective.loss("model", batch[row : row + 1], 0)
                total = total + weight * part.total
        total = total / len(batch)
        apart = torch.stack(
            [
                (now - first).square().mean()
                for now, first in zip(self.model.parameters(), self.start.parameters(), strict=True)
            ]
        ).mean()
        return Losses(
            total=total + self.config.kl * apart,
            parts={"kl": apart.detach(), "kept": (share > 0).float().mean()},
        )
