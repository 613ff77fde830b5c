"""What a learner makes of scored videos: a loss. And the table of learners.

Legend: B conditions, G videos of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from vidgen.config.reward import RewardConfig
from vidgen.models.base import Objective, VideoModel
from vidgen.types import Condition, Losses


@dataclass(frozen=True, kw_only=True)
class Rollouts:
    """Videos a model made, and how good they are.

    Attributes:
        video: (B G, C, T, H, W) in [-1, 1]; those of a condition follow each other.
        cond: the conditions, (B G) rows.
        seed: (B G,) int64, for what is random in a loss.
        advantage: (B G,), how much better than others of the condition.
        how: what the learner wants to know of their making.
    """

    video: Tensor
    cond: Condition
    seed: Tensor
    advantage: Tensor
    how: Any = None


class Learner(ABC):
    """Turns rollouts into a loss of the model.

    Args:
        objective: of the family, whose model learns.
        behaviour: the weights that made the rollouts.
        start: the weights it all began with.
    """

    name: ClassVar[str]
    # Whether it learns from how videos of a condition differ, so that there must be several.
    compares: ClassVar[bool] = True

    def __init__(
        self, config: RewardConfig, objective: Objective, behaviour: VideoModel, start: VideoModel
    ) -> None:
        self.config, self.objective = config, objective
        self.model, self.behaviour, self.start = objective.model, behaviour, start

    @classmethod
    @abstractmethod
    def refuses(cls, objective: Objective, differentiable: bool) -> str | None:
        """Why this family, or these rewards, cannot be learned from so; None if they can."""

    @torch.no_grad()
    def make(
        self, cond: Condition, n: int, guidance: float, generator: Generator
    ) -> tuple[Tensor, Any]:
        """n videos (n, C, T, H, W) by the behaviour's weights, and what `Rollouts.how` collects."""
        return self.behaviour.sample(cond, n, guidance=guidance, generator=generator), None

    @abstractmethod
    def loss(self, rollouts: Rollouts, guidance: float) -> Losses:
        """Its `total` is a mean over the rollouts, to be differentiated."""


def per_sample(error: Tensor) -> Tensor:
    """(B,) means of (B, ...)."""
    return error.flatten(1).mean(1)
