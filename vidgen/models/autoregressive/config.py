"""Config of the autoregressive family. No torch here."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import FamilyConfig
from vidgen.config.codec import CodecConfig

PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]


class Config(FamilyConfig):
    """A causal transformer over the tokens of a codec, frame by frame, row by row."""

    reads: ClassVar = frozenset({"label", "text", "image", "sketch", "past"})
    free: ClassVar = frozenset(
        {"dropout", "stochastic_depth", "condition_dropout", "temperature", "top"}
    )
    family: Literal["autoregressive"] = "autoregressive"
    codec: CodecConfig | None = None
    """A trained vae with levels, whose tokens are written."""
    width: PositiveInt = 192
    """Numbers per token."""
    depth: PositiveInt = 4
    """Transformer blocks."""
    heads: PositiveInt = 6
    """Attention heads; they share the width."""
    mlp_ratio: Annotated[float, Field(gt=0)] = 3.0
    """Width inside a block's MLP over the width of a token."""
    dropout: Share = 0.0
    """Share of MLP activations dropped in training, against overfitting."""
    stochastic_depth: Share = 0.0
    """How often training leaves the last block out for a sample; earlier ones less often."""
    text_width: PositiveInt = 96
    """Numbers per byte in the caption encoder."""
    text_tokens: PositiveInt = 8
    """Tokens that a caption becomes."""
    condition_dropout: Annotated[float, Field(ge=0, le=1)] = 0.1
    """How often training hides all conditions, and each alone if there are several."""
    temperature: Annotated[float, Field(gt=0)] = 1.0
    """Below 1: likelier tokens more often than training data has them."""
    top: int = Field(default=0, ge=0)
    """Draw from so many of the likeliest tokens; 0: from all."""

    @model_validator(mode="after")
    def _no_cache(self) -> Config:
        if self.codec is not None and self.codec.cache is not None:
            raise ValueError("codec.cache holds latents, and this family works on tokens")
        return self

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
        for (name, size), factor in zip(video.items(), factors, strict=True):
            if size % factor:
                raise ValueError(f"data.{name} {size} must be a multiple of the codec's {factor}")
