"""Config of the convolutional family. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import ConditionName, FamilyConfig, Positive, PositiveInt, Share
from vidgen.config.losses import LossConfig


class Config(FamilyConfig):
    """An encoder of pictures, a translator from past to future, a decoder."""

    reads: ClassVar = frozenset({"past"})
    needs: ClassVar = frozenset({"past"})
    free: ClassVar = frozenset({"dropout", "stochastic_depth", "loss"})
    family: Literal["convolutional"] = "convolutional"
    conditions: tuple[ConditionName, ...] = ("past",)
    past_frames: int = Field(default=8, ge=0)
    levels: PositiveInt = 2
    """Halvings of the picture on the way in."""
    width: PositiveInt = 24
    """Channels of a frame."""
    translator_width: PositiveInt = 128
    """Channels of all frames together."""
    depth: PositiveInt = 4
    """Blocks of the translator."""
    mlp_ratio: Positive = 2.0
    """Width inside a block's MLP over the translator's."""
    dropout: Share = 0.0
    """Share of MLP channels dropped in training."""
    stochastic_depth: Share = 0.0
    """How often training leaves the last block out for a sample; earlier ones less often."""
    trend: bool = False
    """Beside the network, each future frame is the last one plus a weighted sum of how earlier ones
    differ from it, with the same few weights at every pixel (arXiv:2205.13504): what few clips can
    teach."""
    loss: LossConfig = LossConfig()

    @model_validator(mode="after")
    def _trend_has_a_past(self) -> Config:
        if self.trend and self.past_frames < 2:
            raise ValueError(f"trend needs 2 past_frames or more, got {self.past_frames}")
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        part = 2**self.levels
        for name, size in {"height": height, "width": width}.items():
            if size % part:
                raise ValueError(
                    f"data.{name} {size} must be a multiple of {part}, "
                    f"halved model.levels {self.levels} times"
                )
