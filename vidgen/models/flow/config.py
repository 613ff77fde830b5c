"""Config of the flow family. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import FamilyConfig
from vidgen.config.codec import CodecConfig

PositiveInt = Annotated[int, Field(gt=0)]
Ratio = Annotated[float, Field(ge=0, le=1)]


class Config(FamilyConfig):
    """A transformer that turns noise into video along a straight path (flow matching).

    With a codec, into the codec's latents, which it turns into video.
    """

    any_size: ClassVar[bool] = True
    reads: ClassVar = frozenset({"label", "text", "image", "sketch", "past"})
    free: ClassVar = frozenset(
        {
            "dropout", "stochastic_depth", "condition_dropout", "uniform_share", "least_noise",
            "sampler", "sample_steps",
        }
    )  # fmt: skip
    family: Literal["flow"] = "flow"
    codec: CodecConfig | None = None
    """A trained VAE to work on the latents of; empty: on pixels."""
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = (4, 8, 8)
    """Frames, rows and columns that one token stands for; with a codec, of the latent."""
    width: PositiveInt = 192
    """Numbers per token."""
    depth: PositiveInt = 4
    """Transformer blocks."""
    heads: PositiveInt = 6
    """Attention heads; they share the width."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 3.0
    """Width inside a block's MLP over the width of a token."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of MLP activations dropped in training, against overfitting."""
    stochastic_depth: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """How often training leaves the last block out for a sample; earlier ones less often."""
    text_width: PositiveInt = 96
    """Numbers per byte in the caption encoder."""
    text_tokens: PositiveInt = 8
    """Tokens that a caption becomes."""
    condition_dropout: Ratio = 0.1
    """How often training hides all conditions, and each alone if there are several."""
    predict: Literal["video", "velocity"] = "video"
    """What the network puts out. The video is learned sooner with large patches."""
    shift: Annotated[float, Field(gt=0)] = 6.0
    """How much training and sampling dwell on high noise; 1: not. Larger clips need more."""
    uniform_share: Ratio = 0.1
    """Share of training times drawn evenly, the rest around the middle."""
    least_noise: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Share of noise that errors count as having at least: bounds the weight of clean clips."""
    sampler: Literal["euler", "heun"] = "euler"
    """heun: two network calls a step, more exact."""
    sample_steps: PositiveInt = 16
    """Steps from noise to video."""

    @model_validator(mode="after")
    def _heads_fit(self) -> Config:
        head = self.width // self.heads
        if self.width % self.heads or head % 2 or head < 6:
            raise ValueError(
                f"width {self.width} over heads {self.heads} must be even and at least 6: "
                "channels turn in pairs, at least one for each of time, height and width"
            )
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        video = {"frames": frames, "height": height, "width": width}
        factors = (1, 1, 1) if self.codec is None else self.codec.factors()
        for (name, size), part, factor in zip(video.items(), self.patch, factors, strict=True):
            if size % (part * factor):
                times = f" times the codec's {factor}" if factor > 1 else ""
                raise ValueError(
                    f"data.{name} {size} must be a multiple of model.patch's {part}{times}"
                )
