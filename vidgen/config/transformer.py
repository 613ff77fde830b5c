"""What the families share whose network is a transformer over the places of a video."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator

from vidgen.config.base import FamilyConfig, Positive, PositiveInt, Ratio, Share
from vidgen.config.codec import CodecConfig


class TransformerConfig(FamilyConfig):
    """Size of the transformer, and of the encoders of what it is asked to show."""

    reads: ClassVar = frozenset({"label", "text", "image", "sketch", "past"})
    codec: CodecConfig | None = None
    """A trained vae to work on the latents of; empty: on pixels."""
    width: PositiveInt = 192
    """Numbers per token."""
    depth: PositiveInt = 4
    """Transformer blocks."""
    heads: PositiveInt = 6
    """Attention heads; they share the width."""
    mlp_ratio: Positive = 3.0
    """Width inside a block's MLP over the width of a token."""
    dropout: Share = 0.0
    """Share of MLP activations dropped in training, against overfitting."""
    stochastic_depth: Share = 0.0
    """How often training leaves the last block out for a sample; earlier ones less often."""
    text_width: PositiveInt = 96
    """Numbers per byte in the caption encoder."""
    text_tokens: PositiveInt = 8
    """Tokens that a caption becomes."""
    condition_dropout: Ratio = 0.1
    """How often training hides all conditions, and each alone if there are several."""

    @model_validator(mode="after")
    def _heads_fit(self) -> TransformerConfig:
        head = self.width // self.heads
        if self.width % self.heads or head % 2 or head < 6:
            raise ValueError(
                f"width {self.width} over heads {self.heads} must be even and at least 6: "
                "channels turn in pairs, at least one for each of time, height and width"
            )
        return self
