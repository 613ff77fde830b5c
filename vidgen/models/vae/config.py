"""Config of the vae family. No torch here."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import FamilyConfig, PositiveInt, Weight
from vidgen.config.losses import LossConfig

Factors = tuple[PositiveInt, PositiveInt, PositiveInt]

_MOST_TOKENS = 2**31  # beyond, their numbers do not fit where they are counted


class Config(FamilyConfig):
    """Packs boxes of pixels into a few channels that a decoder turns back into video."""

    any_size: ClassVar[bool] = True
    family: Literal["vae"] = "vae"
    patch: Factors = (2, 4, 4)
    """Frames, rows and columns folded into channels at the entrance."""
    widths: tuple[PositiveInt, ...] = (48, 128)
    """Channels at each level, from fine to coarse."""
    blocks: tuple[PositiveInt, ...] = (1, 2)
    """Residual blocks at each level, on the way in and again on the way out."""
    shrink: tuple[Factors, ...] = ((2, 2, 2),)
    """What time, height and width are divided by between one level and the next."""
    latent_channels: PositiveInt = 16
    """Numbers per place of the latent, when there are no levels."""
    levels: tuple[Annotated[int, Field(ge=2)], ...] = ()
    """Levels of each latent channel: makes tokens, as many kinds as their product (FSQ). Empty: a
    VAE."""
    kl: Weight = 1e-6
    """Weight of the divergence from a normal distribution, in nats per latent number."""
    loss: LossConfig = LossConfig(pixel="l1", perceptual=0.1)

    @model_validator(mode="after")
    def _levels_fit(self) -> Config:
        if not len(self.widths) == len(self.blocks) == len(self.shrink) + 1:
            raise ValueError(
                f"{len(self.widths)} widths need as many blocks, got {len(self.blocks)}, "
                f"and one shrink fewer, got {len(self.shrink)}"
            )
        if math.prod(self.levels) > _MOST_TOKENS:
            raise ValueError(
                f"levels make {math.prod(self.levels)} kinds of tokens; at most {_MOST_TOKENS}"
            )
        return self

    @property
    def factors(self) -> tuple[int, int, int]:
        """What time, height and width are divided by altogether."""
        a, b, c = (math.prod(each) for each in zip(self.patch, *self.shrink, strict=True))
        return a, b, c

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        sizes = {"frames": frames, "height": height, "width": width}
        for (name, size), part in zip(sizes.items(), self.factors, strict=True):
            if size % part:
                raise ValueError(f"data.{name} {size} must be a multiple of the vae's {part}")
