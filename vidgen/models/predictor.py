"""Models that go on from past frames, and have one answer.

B batch, C channels, P past frames, T future frames, H height, W width.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

from torch import Generator, Tensor

from vidgen.models.base import VideoModel
from vidgen.types import Condition


class Predictor(VideoModel):
    """A family says what comes after: `predict`."""

    needs: ClassVar = frozenset({"past"})
    random: ClassVar = False
    differentiable: ClassVar = True

    @abstractmethod
    def predict(self, past: Tensor) -> Tensor:
        """(B, C, P, H, W) to the future, (B, C, T, H, W), not yet cut to [-1, 1]."""

    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        """See VideoModel. There is one answer: guidance and generator change nothing."""
        assert cond.past is not None
        return self.predict(cond.past).clamp(-1, 1)
