"""Config of the gan family. No torch here."""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from vidgen.config.base import FamilyConfig, PositiveInt, Share, Weight


class Config(FamilyConfig):
    """A generator of whole clips and the discriminator that teaches it."""

    reads: ClassVar = frozenset({"label", "text", "image"})
    free: ClassVar = frozenset(
        {
            "critic_widths", "loss", "penalty", "penalty_every", "coarse", "coarse_box",
            "coarse_until", "augment", "augment_speed",
        }
    )  # fmt: skip
    family: Literal["gan"] = "gan"
    noise: PositiveInt = 64
    """Numbers that a clip is drawn from."""
    widths: tuple[PositiveInt, ...] = (128, 64, 32)
    """Channels at each level, from the coarsest; time, height and width double between levels."""
    critic_widths: tuple[PositiveInt, ...] = ()
    """Channels of the discriminator's levels; empty: the generator's."""
    patch: tuple[PositiveInt, PositiveInt, PositiveInt] = (2, 2, 2)
    """Frames, rows and columns of pixels that a place of the finest level stands for."""
    text_width: PositiveInt = 96
    """Numbers per byte in the caption encoders."""
    condition_width: PositiveInt = 64
    """Numbers that a caption or label becomes."""
    loss: Literal["relativistic", "hinge"] = "relativistic"
    """relativistic: each made clip against a real one (arXiv:2501.05441); hinge: each alone."""
    penalty: Weight = 1.0
    """Weight of the discriminator's squared gradients at real (R1) and made (R2) clips."""
    penalty_every: PositiveInt = 4
    """Steps between those penalties, which count as many times as much (arXiv:1912.04958)."""
    coarse: Weight = 0.0
    """Weight, at the first step, of squared differences in coarse colours from the real clip of the
    same condition (as in arXiv:1611.07004): what is asked for is learned from them sooner than from
    a discriminator."""
    coarse_box: PositiveInt = 8
    """Frames, rows and columns of the boxes whose mean colours are compared; 1: pixels, for
    conditions that leave little open."""
    coarse_until: int = Field(default=1000, ge=0)
    """Step by which that weight has fallen to nothing: from there on clips may differ. 0: it stays.
    """
    grow: tuple[PositiveInt, ...] = ()
    """Progressive growing (arXiv:1710.10196): the step at which each finer level comes in, as many
    as there are levels after the first. Empty: all levels from the start."""
    fade_steps: int = Field(default=200, ge=0)
    """Steps over which a new level is blended in."""
    augment: Share = 0.6
    """Share of real clips that the discriminator should be sure about, in excess of those it is
    wrong about; above it clips are augmented more often (ADA, arXiv:2006.06676). 0: never."""
    augment_speed: Weight = 2e-5
    """By how much one clip changes how often clips are augmented."""

    @model_validator(mode="after")
    def _levels_fit(self) -> Config:
        if self.critic_widths and len(self.critic_widths) != len(self.widths):
            raise ValueError(
                f"critic_widths needs {len(self.widths)} widths, got {len(self.critic_widths)}"
            )
        if self.grow and len(self.grow) != len(self.widths) - 1:
            raise ValueError(
                f"grow needs {len(self.widths) - 1} steps, one for each level after the first, "
                f"got {len(self.grow)}"
            )
        if any(after - before < max(1, self.fade_steps) for before, after in pairwise(self.grow)):
            raise ValueError(f"the steps of grow must lie {self.fade_steps} fade_steps apart")
        return self

    def check_video(self, *, frames: int, height: int, width: int) -> None:
        sizes = {"frames": frames, "height": height, "width": width}
        for (name, size), part in zip(sizes.items(), self.patch, strict=True):
            whole = part * 2 ** (len(self.widths) - 1)
            if size % whole:
                raise ValueError(f"data.{name} {size} must be a multiple of the gan's {whole}")
