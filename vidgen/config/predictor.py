"""What the families share that go on from past frames."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, model_validator

from vidgen.config.base import ConditionName, FamilyConfig
from vidgen.config.losses import LossConfig


class PredictorConfig(FamilyConfig):
    """From the frames before to the frames after, and nothing else to go by."""

    reads: ClassVar = frozenset({"past"})
    needs: ClassVar = frozenset({"past"})
    conditions: tuple[ConditionName, ...] = ("past",)
    past_frames: int = Field(default=8, ge=0)
    trend: bool = False
    """Beside the network, the frame that it goes on from plus a weighted sum of how earlier ones
    differ from it, with the same few weights at every pixel (arXiv:2205.13504): what few clips can
    teach."""
    loss: LossConfig = LossConfig()

    @model_validator(mode="after")
    def _trend_has_a_past(self) -> PredictorConfig:
        if self.trend and self.past_frames < 2:
            raise ValueError(f"trend needs 2 past_frames or more, got {self.past_frames}")
        return self
