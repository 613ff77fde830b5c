"""Config of the flow family. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from vidgen.config.base import Positive, PositiveInt, Ratio
from vidgen.config.transformer import TransformerConfig


class Config(TransformerConfig):
    """A transformer that turns noise into video along a straight path (flow matching).

    With a codec, into the codec's latents, which it turns into video.
    """

    any_size: ClassVar[bool] = True
    free: ClassVar = frozenset(
        {
            "dropout", "stochastic_depth", "condition_dropout", "uniform_share", "least_noise",
            "sampler", "sample_steps",
        }
    )  # fmt: skip
    family: Literal["flow"] = "flow"
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = (4, 8, 8)
    """Frames, rows and columns that one token stands for; with a codec, of the latent."""
    predict: Literal["video", "velocity"] = "video"
    """What the network puts out. The video is learned sooner with large patches."""
    shift: Positive = 6.0
    """How much training and sampling dwell on high noise; 1: not. Larger clips need more."""
    uniform_share: Ratio = 0.1
    """Share of training times drawn evenly, the rest around the middle."""
    least_noise: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of noise that errors count as having at least: bounds the weight of clean clips."""
    sampler: Literal["euler", "heun"] = "euler"
    """heun: two network calls a step, more exact."""
    sample_steps: PositiveInt = 16
    """Steps from noise to video."""

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        video = {"frames": frames, "height": height, "width": width}
        factors = (1, 1, 1) if self.codec is None else self.codec.factors()
        for (name, size), part, factor in zip(video.items(), self.patch, factors, strict=True):
            if size % (part * factor):
                times = f" times the codec's {factor}" if factor > 1 else ""
                raise ValueError(
                    f"data.{name} {size} must be a multiple of model.patch's {part}{times}"
                )
