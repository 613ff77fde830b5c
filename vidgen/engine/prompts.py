"""What a person asks for (words, pictures, a video) as conditions that a model reads.

Legend: B rows, C channels, T frames, P past frames, H height, W width.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.data.picture import Frames
from vidgen.data.video import decode
from vidgen.errors import ConfigError, DataError, did_you_mean
from vidgen.types import Condition, encode_text

# The option that gives each condition, for messages.
OPTIONS = {
    "text": "--caption", "label": "--label", "image": "--image", "sketch": "--sketch",
    "past": "--past",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Prompt:
    """What to show; whatever is None or empty is left to the model.

    Attributes:
        captions: texts; each makes its own row.
        label: class name, or its index as text.
        image: picture file to start from.
        sketch: picture file of edges, bright where there is one; held for all frames.
        past: video file whose last frames come before the generated ones.
    """

    captions: tuple[str, ...] = ()
    label: str | None = None
    image: Path | None = None
    sketch: Path | None = None
    past: Path | None = None

    @property
    def rows(self) -> int:
        """How many videos are asked for, before repeats."""
        return max(1, len(self.captions))

    def given(self) -> list[str]:
        """Names of the conditions it holds."""
        held = {"text": self.captions, "label": self.label, "image": self.image}
        held |= {"sketch": self.sketch, "past": self.past}
        return [name for name, value in held.items() if value not in (None, ())]

    def to_json(self) -> dict[str, Any]:
        """What was asked for, as generated.json keeps it."""
        return {k: str(v) if isinstance(v, Path) else v for k, v in asdict(self).items() if v}

    def condition(self, config: RunConfig, *, fps: float) -> Condition:
        """Tensors for a run's model, `rows` of them.

        ConfigError for what the model does not read, DataError for a file that does not open.
        """
        reads = config.model.conditions
        for name in self.given():
            if name not in reads:
                known = ", ".join(OPTIONS[each] for each in reads) or "nothing"
                raise ConfigError(
                    f"the model of run '{config.name}' does not read {OPTIONS[name]}",
                    expected=f"{known}, the conditions it was trained with",
                )
        for name in sorted(config.model.needs - set(self.given())):
            raise ConfigError(
                f"the model of run '{config.name}' goes on from a video: give it one",
                expected=f"{OPTIONS[name]}, of {config.model.past_frames} frames or more",
            )
        data = config.data
        size = (data.height, data.width)
        image = sketch = past = None
        if self.image is not None:
            image = read_picture(self.image, size).div(127.5).sub(1)  # (3, H, W)
        if self.sketch is not None:
            edges = read_picture(self.sketch, size, grey=True).div(255)  # (1, H, W)
            sketch = edges[:, None].expand(1, data.frames, *size)  # (1, T, H, W)
        if self.past is not None:
            past = read_past(self.past, size, fps=fps, frames=config.model.past_frames)
        label = None if self.label is None else torch.tensor(label_index(self.label, data.labels))
        return Condition(
            text=encode_text(list(self.captions)) if self.captions else None,
            label=self._repeat(label),
            image=self._repeat(image),
            sketch=self._repeat(sketch),
            past=self._repeat(past),
        )

    def _repeat(self, value: Tensor | None) -> Tensor | None:
        return None if value is None else value.expand(self.rows, *value.shape).contiguous()


def label_index(label: str, labels: tuple[str, ...]) -> int:
    """A label's index, by name or number. Raises ConfigError."""
    if label in labels:
        return labels.index(label)
    if label.isdecimal() and int(label) < len(labels):
        return int(label)
    raise ConfigError(
        f"no label '{label}'{did_you_mean(label, labels)}",
        expected=f"one of: {', '.join(labels)}" if labels else "a data set with labels",
    )


def read_picture(path: Path, size: tuple[int, int], *, grey: bool = False) -> Tensor:
    """A picture file as float (3 or 1, H, W) in [0, 255], scaled and cropped like training clips.

    Both sides are covered and the middle is cut out. Transparent parts are black.
    Raises DataError if it does not open.
    """
    try:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened)
            if picture.has_transparency_data:
                picture = picture.convert("RGBA")
                black = Image.new("RGBA", picture.size, (0, 0, 0, 255))
                picture = Image.alpha_composite(black, picture)
            picture = picture.convert("L" if grey else "RGB")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{path} is not a picture that can be read: {error}", expected="a PNG or JPEG file"
        ) from None
    height, width = size
    fitted = ImageOps.fit(picture, (width, height), method=Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(fitted, dtype=np.float32))
    return pixels[None] if grey else pixels.permute(2, 0, 1).contiguous()


def read_video(path: Path, config: RunConfig, *, fps: float) -> Tensor:
    """The first frames of a video file as a model's clip, (3, T, H, W) in [-1, 1].

    Raises DataError if it does not open or is too short.
    """
    data = config.data
    rate = Fraction(fps).limit_denominator(1000)
    found = decode(path, fps=rate, size=(data.height, data.width))
    if len(found) < data.frames:
        raise DataError(
            f"{path} has {len(found)} frames at {fps:g} per second",
            expected=f"at least {data.frames}, as many as the model makes",
        )
    return _pixels(found[: data.frames])


def read_past(path: Path, size: tuple[int, int], *, fps: float, frames: int) -> Tensor:
    """The last frames of a video file at a frame rate, (3, P, H, W) in [-1, 1].

    Raises DataError if it does not open or is too short.
    """
    found = decode(path, fps=Fraction(fps).limit_denominator(1000), size=size)
    if len(found) < frames:
        raise DataError(
            f"{path} has {len(found)} frames at {fps:g} per second",
            expected=f"at least {frames}, as many as the model looks back on",
        )
    return _pixels(found[-frames:])


def _pixels(frames: Frames) -> Tensor:
    """(T, H, W, 3) uint8 to (3, T, H, W) in [-1, 1]."""
    return torch.from_numpy(frames).permute(3, 0, 1, 2).float().div(127.5).sub(1).contiguous()
