"""What `vidgen data prepare` makes of videos; set with `--set key=value`."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field, model_validator

from vidgen.config.base import Positive, PositiveInt, Ratio, Strict

Even = Annotated[int, Field(ge=16, le=4096, multiple_of=2)]


_VERSION = 2  # grows when the same options find other clips, or other things about them
_AFTER_CUTTING = {"split", "seed", "workers", "timeout_s", "duplicates", "folder_labels"}


class PrepareOptions(Strict):
    """Shape of the clips, which videos are good enough, and how sources are split."""

    output: Literal["pack", "index"] = "pack"
    """pack: write each clip as a small file; index: copy nothing, train from the originals."""
    width: Even = 128
    """Pixels of a prepared clip; even, as 4:2:0 video is."""
    height: Even = 128
    """Pixels of a prepared clip; even, as 4:2:0 video is."""
    fps: Annotated[float, Field(gt=0, le=240)] = 16
    """Standard frame rate; frames are picked by time."""
    fit: Literal["crop", "stretch"] = "crop"
    """crop: keep the aspect ratio and cut the middle out; stretch: squeeze the whole picture."""
    clip_seconds: Annotated[float, Field(gt=0, le=60)] = 4
    """Longer sources are cut into clips of this length."""
    min_seconds: Annotated[float, Field(ge=0)] = 0.5
    """Shorter sources, and remainders, are left out."""
    min_side: Annotated[int, Field(ge=1)] = 32
    """Sources whose shorter side has fewer pixels are left out."""
    min_source_fps: Annotated[float, Field(ge=0)] = 4
    """Sources with fewer frames per second are left out: they would stand still between frames."""
    min_moving: Ratio = 0.002
    """Share of pixels that must change visibly within a clip; fewer is a still."""
    max_frozen: Ratio = 0.6
    """Share of a clip that may show the very same picture without a break."""
    min_brightness: Ratio = 0.03
    """Mean luma below which a clip is left out as dark."""
    max_brightness: Ratio = 0.97
    """Mean luma above which a clip is left out as bright."""
    max_blur: Ratio = 0.55
    """Blur at the prepared size, 0 sharp to 1, above which a clip is left out; 1: never."""
    max_noise: Ratio = 0.05
    """Noise at the prepared size, relative to full scale, above which a clip is left out."""
    letterbox: Literal["keep", "crop", "reject"] = "keep"
    """What to do about black bars around the picture; a black background looks the same."""
    max_damaged: Ratio = 0.05
    """Share of damaged frames above which a source is left out."""
    missing: Literal["interpolate", "drop", "keep"] = "interpolate"
    """Frames that are lost or damaged: blend their neighbours, leave the clip out, or show the
    nearest one. An index data set reads the originals, so there interpolate means drop."""
    max_missing: Ratio = 0.25
    """Share of interpolated frames above which a clip is left out."""
    denoise: Literal["off", "nlmeans", "atadenoise"] = "off"
    """FFmpeg filter that every frame goes through before it is scaled; needs output=pack."""
    shots: bool = True
    """Look for cuts, and let no clip reach over one."""
    duplicates: Literal["remove", "exact", "keep"] = "remove"
    """Clips that another clip already shows: leave out the same and nearly the same ones, the same
    ones only, or none. Sources that share any stay in one split."""
    folder_labels: Literal["auto", "always", "never"] = "auto"
    """Whether the folder that a video lies in is its label; auto: if no label is written down."""
    max_pixels: PositiveInt = 8192 * 4320
    """Largest frame that is decoded, in pixels."""
    crf: Annotated[int, Field(ge=0, le=51)] = 18
    """Quality of the H.264 clips; lower is better and larger."""
    keyframe_every: Annotated[int, Field(ge=1)] = 12
    """Frames between key frames of the clips."""
    split: tuple[Ratio, Ratio, Ratio] = (0.8, 0.1, 0.1)
    """Shares of sources in train, val and test; a split column in captions.csv goes first."""
    seed: int = 0
    """Decides which source goes into which split."""
    workers: Annotated[int, Field(ge=0)] = 0
    """Decoder processes; 0: one per CPU core."""
    timeout_s: Positive = 1800
    """Longest time for one source, seconds."""

    @model_validator(mode="after")
    def _fits_together(self) -> PrepareOptions:
        if abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"split shares must add up to 1, got {list(self.split)}")
        if self.denoise != "off" and self.output == "index":
            raise ValueError("denoise needs output=pack: an index reads the originals as they are")
        if self.min_seconds > self.clip_seconds:
            raise ValueError(
                f"min_seconds {self.min_seconds:g} is over clip_seconds {self.clip_seconds:g}"
            )
        return self

    def cutting(self) -> dict[str, object]:
        """The options that decide what the clips look like."""
        return self.model_dump(mode="json", exclude=_AFTER_CUTTING)

    def fingerprint(self) -> str:
        """Equal for options that cut a source into the same clips."""
        text = json.dumps([_VERSION, self.cutting()], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]
