"""DataConfig: which clips a run trains on, and what happens to them before the model sees them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from vidgen.config.base import Positive, PositiveInt, Ratio, Strict

Pixel = Annotated[float, Field(ge=-1, le=1)]
SkipLoopFilter = Literal["none", "noref", "all"]  # FFmpeg's names


class SyntheticConfig(Strict):
    """Captioned moving shapes, made on the machine that needs them; the same bytes everywhere."""

    clips: PositiveInt = 2400
    """How many source videos to make."""
    seed: int = 0
    """Seed of the attributes and motion."""


class BucketConfig(Strict):
    """Clips of one shape, at most that of `data`; each step draws one bucket for all its clips."""

    frames: PositiveInt | None = None
    """Empty: those of data; so for the next two."""
    height: PositiveInt | None = None
    width: PositiveInt | None = None
    still: bool = False
    """One frame, shown for all of them: an image."""
    share: float = Field(default=1.0, gt=0)
    """How often it is drawn, against the other buckets of the same step."""
    since: int = Field(default=0, ge=0)
    """First step, counted from 0, that may draw it."""
    until: PositiveInt | None = None
    """First step that may no longer; empty: to the end."""


class AugmentConfig(Strict):
    """Random changes to training clips, the same for all frames of one; nothing by default."""

    flip: Ratio = 0.0
    """Share of clips that are mirrored left to right."""
    flip_vertical: Ratio = 0.0
    """Share of clips that are turned upside down."""
    rotate: float = Field(default=0.0, ge=0, le=45)
    """Largest turn to either side, degrees."""
    zoom: float = Field(default=1.0, ge=1, le=4)
    """Largest factor to zoom in by; the part that is shown lies anywhere."""
    brightness: Ratio = 0.0
    """Brightness is times 1 - x to 1 + x; so for the next two."""
    contrast: Ratio = 0.0
    saturation: Ratio = 0.0
    noise: Ratio = 0.0
    """Largest standard deviation of added noise, of full scale."""
    speed: float = Field(default=1.0, ge=1, le=4)
    """Largest factor by which a clip is played faster or slower."""
    shift: bool = True
    """Begin anywhere in the clip; off: show its middle."""

    @property
    def changes_pixels(self) -> bool:
        """Whether there is anything to do once frames are decoded."""
        return self.model_copy(update={"speed": 1.0, "shift": True}) != AugmentConfig()


class DataConfig(Strict):
    """Which clips, and their shape on the way into the model."""

    url: str | None = None
    """Prepared data set: a folder or s3://bucket/prefix. Empty: use `synthetic`."""
    synthetic: SyntheticConfig | None = None
    """Make a synthetic data set when no url is given."""
    frames: PositiveInt = 16
    """Frames in a training clip, T."""
    height: PositiveInt = 32
    """Pixels, H."""
    width: PositiveInt = 32
    """Pixels, W."""
    fps: Positive | None = None
    """Frame rate to sample clips at, frames per second; empty: the data set's own."""
    buckets: tuple[BucketConfig, ...] = ()
    """Shapes to train on; a step of smaller clips has more, for as many pixels. Empty: one shape.
    A curriculum is buckets with since and until; validation and samples have the full shape."""
    mean: tuple[Pixel, Pixel, Pixel] = (0.0, 0.0, 0.0)
    """Red, green and blue, between -1 and 1, that the model sees as 0."""
    scale: tuple[Positive, Positive, Positive] = (1.0, 1.0, 1.0)
    """The model sees (pixels - mean) / scale, cut off at -1 and 1, and what it makes is turned back
    for samples and scores; say three standard deviations. Not for codecs and models of latents."""
    labels: tuple[str, ...] = ()
    """Class names by index; filled in from the data set when a run starts."""
    loader_workers: int = Field(default=0, ge=0)
    """Decoder processes per rank; 0 decodes in a thread of the training process."""
    prefetch: PositiveInt = 4
    """Batches decoded ahead, per rank."""
    pin_memory: bool = True
    """Hand batches over in page-locked memory where a GPU trains: copies then overlap."""
    augment: AugmentConfig = AugmentConfig()
    """Changes to training clips; validation and evaluation see them as they are."""
    max_bad: Ratio = 0.01
    """Share of the clips that may turn out not to decode before the run stops; each is replaced by
    another one and listed below quarantine/ in the run folder."""
    skip: str | None = None
    """List of clips to leave out: JSON lines of source and start_s, as below quarantine/."""
    originals: str | None = None
    """Where the videos of an index data set are now; empty: where they were prepared from."""
    skip_loop_filter: SkipLoopFilter = "none"
    """Pictures decoded without deblocking, as in FFmpeg; noref: those that nothing refers to.
    Faster, and the pixels differ."""
    disk_cache: str | None = None
    """Local folder that keeps what was read of remote videos, shared by all processes of a node."""
    disk_cache_bytes: int = Field(default=50 * 1024**3, ge=0)
    """Upper bound of that folder, bytes."""
    cache: bool = True
    """Keep decoded clips in memory while they fit `cache_bytes`."""
    cache_bytes: int = Field(default=2 * 1024**3, ge=0)
    """Upper bound of the decoded-clip cache of a rank, bytes."""

    @property
    def has_levels(self) -> bool:
        """Whether the model sees other colours than the pixels'."""
        return any(self.mean) or any(scale != 1 for scale in self.scale)
