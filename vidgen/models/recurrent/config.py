"""Config of the recurrent family. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import PositiveInt, Share
from vidgen.config.predictor import PredictorConfig


class Config(PredictorConfig):
    """Cells that see one frame after the other and predict the next."""

    free: ClassVar = frozenset({"dropout", "truth_until", "truncate", "loss"})
    family: Literal["recurrent"] = "recurrent"
    cell: Literal["lstm", "gru"] = "lstm"
    """lstm: output and memory; gru: one state, a quarter less work."""
    patch: PositiveInt = 4
    """Rows and columns of pixels that one place of the cells' maps stands for."""
    width: PositiveInt = 64
    """Channels of a cell."""
    depth: PositiveInt = 2
    """Cells on top of each other."""
    kernel: PositiveInt = 3
    """Places a cell looks at, each way; odd."""
    dropout: Share = 0.0
    """Share of a cell's output channels dropped on the way up in training."""
    truth_until: int = Field(default=1000, ge=0)
    """Step by which training has stopped feeding true future frames instead of predicted ones
    (scheduled sampling, arXiv:1506.03099); the share falls evenly to it. 0: never fed."""
    truncate: int = Field(default=0, ge=0)
    """Frames that gradients flow back through; 0: all (truncated backpropagation)."""

    @model_validator(mode="after")
    def _odd_kernel(self) -> Config:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel {self.kernel} must be odd, so that it has a middle")
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        for name, size in {"height": height, "width": width}.items():
            if size % self.patch:
                raise ValueError(
                    f"data.{name} {size} must be a multiple of model.patch {self.patch}"
                )
