"""The world of moving shapes: its words, colours and outlines, and the captions that name them.

Both the painter (`vidgen.data.synthetic`) and the judge (`vidgen.metrics.judge`) read this page, so
that a word means the same to both.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Container
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]
Array = NDArray[np.floating[Any]]

# Far enough apart to stay apart through H.264, a resize and an unsharp generator.
COLOURS: dict[str, Rgb] = {
    "red": (225, 40, 40),
    "orange": (250, 140, 20),
    "yellow": (245, 230, 50),
    "green": (40, 175, 60),
    "cyan": (60, 215, 230),
    "blue": (50, 100, 255),
    "purple": (170, 60, 215),
    "white": (245, 245, 245),
}
SHAPES = ("circle", "square", "triangle")
# Steps to the right and down.
DIRECTIONS: dict[str, tuple[int, int]] = {
    "left": (-1, 0),
    "right": (1, 0),
    "up": (0, -1),
    "down": (0, 1),
}
# Way from the first to the last frame of a clip, as a share of the picture's side.
SPEEDS: dict[str, float] = {"slowly": 0.20, "quickly": 0.46}
BACKGROUNDS: dict[str, Rgb] = {
    "black": (10, 10, 10),
    "gray": (105, 105, 105),
    "navy": (15, 25, 85),
    "maroon": (85, 20, 30),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a clip shows; every field is a word of the tables above."""

    colour: str
    shape: str
    direction: str
    speed: str
    background: str

    @property
    def caption(self) -> str:
        return (
            f"a {self.colour} {self.shape} moving {self.direction} {self.speed} "
            f"on a {self.background} background"
        )

    def attributes(self) -> dict[str, str]:
        """The words by attribute."""
        return asdict(self)


ATTRIBUTES = tuple(Scene.__dataclass_fields__)
_CAPTION = re.compile(
    r"an? (?P<colour>\w+) (?P<shape>\w+) moving (?P<direction>\w+) (?P<speed>\w+)"
    r" on an? (?P<background>\w+) background"
)


def all_scenes() -> list[Scene]:
    """Every scene there is, in a fixed order."""
    return [
        Scene(**dict(zip(ATTRIBUTES, words, strict=True)))
        for words in itertools.product(COLOURS, SHAPES, DIRECTIONS, SPEEDS, BACKGROUNDS)
    ]


def read_caption(caption: str) -> Scene | None:
    """The scene a caption asks for; None if it speaks of anything else."""
    found = _CAPTION.fullmatch(" ".join(caption.lower().split()).removesuffix("."))
    if found is None:
        return None
    scene = Scene(**found.groupdict())
    tables: tuple[Container[str], ...] = (COLOURS, SHAPES, DIRECTIONS, SPEEDS, BACKGROUNDS)
    known = all(word in table for word, table in zip(asdict(scene).values(), tables, strict=True))
    return scene if known else None


def outline(shape: str, x: Any, y: Any, radius: float) -> Array:
    """Signed distance to a shape's edge, negative inside; positions and radius in one unit.

    All shapes of one radius have one area, that of the disc, and their centroid at the origin, so
    that neither size nor place gives a shape away. y grows downwards.
    """
    edge: Array
    if shape == "circle":
        edge = np.hypot(x, y) - radius
    elif shape == "square":
        half = radius * np.sqrt(np.pi) / 2
        edge = np.maximum(np.abs(x), np.abs(y)) - half
    elif shape == "triangle":
        inner = radius * np.sqrt(np.pi / (3 * np.sqrt(3)))  # inscribed circle
        slope = np.sqrt(3) / 2
        edge = np.maximum(y, slope * np.abs(x) - y / 2) - inner
    else:
        raise ValueError(f"no shape '{shape}'")
    return edge
