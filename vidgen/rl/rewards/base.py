"""What every reward is: a number per video, the higher the better.

Legend: B videos, N real clips, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import Any, ClassVar

import torch
from torch import Tensor

from vidgen.config.reward import REWARDS
from vidgen.errors import ConfigError, TrainingError
from vidgen.types import Condition


class Reward(ABC):
    """Scores videos, each by itself. Those of this package lie in [0, 1].

    Attributes:
        reads: which frames it looks at, in words.
        differentiable: whether gradients flow through it into the video.
        needs: Condition fields without which it cannot score.
    """

    reads: ClassVar[str] = "every frame"
    differentiable: bool = False
    needs: ClassVar[frozenset[str]] = frozenset()

    def fit(self, real: Tensor) -> None:  # noqa: B027  # not every reward has a level to find
        """See what real video is like: (N, C, T, H, W) in [-1, 1]."""

    @abstractmethod
    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        """(B,) scores of (B, C, T, H, W) videos in [-1, 1] and what was asked for."""


class OwnScorer(Reward):
    """A function of the user's, by its import path.

    Its attribute `differentiable`, if it has one, says whether gradients flow through it.
    """

    def __init__(self, path: str) -> None:
        module, _, name = path.partition(":")
        try:
            self._score = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise ConfigError(
                f"reward {path} cannot be imported: {error}",
                expected="module:function of a module on the Python path",
            ) from None
        self.differentiable = bool(getattr(self._score, "differentiable", False))

    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        found: Tensor = self._score(video, cond)
        return found


def build_reward(name: str, options: dict[str, Any] | None = None) -> Reward:
    """A row of the table, or a user's function. Raises ConfigError for options it does not have."""
    if ":" in name:
        if options:
            raise ConfigError(f"reward.options.{name}: a scorer of your own has none")
        return OwnScorer(name)
    build = import_module(REWARDS[name]).build
    try:
        reward: Reward = build(**(options or {}))
    except TypeError as error:
        raise ConfigError(f"reward.options.{name}: {error}") from None
    return reward


def scored(reward: Reward, name: str, video: Tensor, cond: Condition) -> Tensor:
    """(B,) float32 scores that are sure to be scores.

    Raises TrainingError, naming the reward, when it raises, returns another shape or no finite
    numbers.
    """
    missing = sorted(reward.needs - {field for field, _ in cond.items()})
    if missing:
        raise TrainingError(
            f"reward '{name}' needs the condition '{missing[0]}', which this model is not given",
            fix=f"Train with model.conditions including '{missing[0]}', or leave the reward out.",
        )
    try:
        found = reward(video, cond)
    except Exception as error:
        raise TrainingError(f"reward '{name}' failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, Tensor) or found.shape != (len(video),):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise TrainingError(
            f"reward '{name}' returned {shape}", expected=f"a tensor of shape ({len(video)},)"
        )
    if not bool(torch.isfinite(found).all()):
        raise TrainingError(f"reward '{name}' returned a number that is not finite")
    return found.float().to(video.device)
