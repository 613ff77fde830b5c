"""Config of the autoregressive family. No torch here."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import Positive
from vidgen.config.codec import CodecConfig
from vidgen.config.transformer import TransformerConfig


class Config(TransformerConfig):
    """A causal transformer over the tokens of a codec, frame by frame, row by row."""

    free: ClassVar = frozenset(
        {"dropout", "stochastic_depth", "condition_dropout", "temperature", "top"}
    )
    family: Literal["autoregressive"] = "autoregressive"
    codec: CodecConfig | None = None
    """A trained vae with levels, whose tokens are written."""
    temperature: Positive = 1.0
    """Below 1: likelier tokens more often than training data has them."""
    top: int = Field(default=0, ge=0)
    """Draw from so many of the likeliest tokens; 0: from all."""

    @model_validator(mode="after")
    def _no_cache(self) -> Config:
        if self.codec is not None and self.codec.cache is not None:
            raise ValueError("codec.cache holds latents, and this family works on tokens")
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        video = {"frames": frames, "height": height, "width": width}
        factors = (1, 1, 1) if self.codec is None else self.codec.factors()
        for (name, size), factor in zip(video.items(), factors, strict=True):
            if size % factor:
                raise ValueError(f"data.{name} {size} must be a multiple of the codec's {factor}")
