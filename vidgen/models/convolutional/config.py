"""Config of the convolutional family. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal

from vidgen.config.base import Positive, PositiveInt, Share
from vidgen.config.predictor import PredictorConfig


class Config(PredictorConfig):
    """An encoder of pictures, a translator from past to future, a decoder."""

    free: ClassVar = frozenset({"dropout", "stochastic_depth", "loss"})
    family: Literal["convolutional"] = "convolutional"
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

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        part = 2**self.levels
        for name, size in {"height": height, "width": width}.items():
            if size % part:
                raise ValueError(
                    f"data.{name} {size} must be a multiple of {part}, "
                    f"halved model.levels {self.levels} times"
                )
