"""Decoded frames to upright RGB arrays of one size, inside swscale."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidgen.data.packets import displayed_size
from vidgen.data.reasons import Reason, Rejected

Frames = NDArray[np.uint8]  # (..., H, W, 3) RGB
Fit = Literal["crop", "stretch"]

# The same pixels on every CPU; without full chroma, swscale darkens RGB by two levels.
EXACT = (
    Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True, kw_only=True)
class Box:
    """The part of a displayed picture that counts, in shares of its sides: without black bars."""

    top: float
    left: float
    height: float
    width: float

    def __str__(self) -> str:
        return f"{self.top:.6g} {self.left:.6g} {self.height:.6g} {self.width:.6g}"

    @classmethod
    def parse(cls, text: str) -> Box | None:
        """Of `str`; None for the whole picture, ''."""
        if not text:
            return None
        top, left, height, width = map(float, text.split())
        return cls(top=top, left=left, height=height, width=width)


class Scaler:
    """Turns frames into RGB arrays; the swscale context is reused.

    Where both sides at least halve, areas are averaged: a third of the time of bicubic, which is
    used otherwise.

    Args:
        size: (H, W) of the result; None keeps the displayed size.
        fit: "crop" scales until both sides are covered and cuts the middle out, "stretch" ignores
            the aspect ratio.
        pixel_shape: width of a stored pixel over its height.
        turns: quarter turns clockwise from stored to displayed frames; None asks each frame.
        box: scale this part of the picture alone.
    """

    def __init__(
        self,
        size: tuple[int, int] | None,
        fit: Fit,
        pixel_shape: Fraction,
        turns: int | None = None,
        box: Box | None = None,
    ) -> None:
        self.size, self.fit, self.pixel_shape, self.turns = size, fit, pixel_shape, turns
        self.box = box or Box(top=0, left=0, height=1, width=1)
        self._reformatter = VideoReformatter()
        self._plans: dict[tuple[int, int, int], _Plan] = {}

    def shape(self, frame: Any) -> tuple[int, int]:
        """(H, W) of the result."""
        window = self._plan(frame).window
        return window[0].stop - window[0].start, window[1].stop - window[1].start

    def __call__(self, frame: Any, out: Frames | None = None) -> Frames:
        """(H, W, 3) uint8; written into `out` where given."""
        plan = self._plan(frame)
        plane: Any = self._reformatter.reformat(
            frame,
            width=plan.width,
            height=plan.height,
            format="rgb24",
            interpolation=plan.interpolation,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        ).planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(plan.height, plane.line_size)
        array = rows[:, : plan.width * 3].reshape(plan.height, plan.width, 3)
        array = np.rot90(array, -plan.turns)[plan.window]
        if out is None:
            return array.copy()  # the buffer goes with the frame
        out[...] = array
        return out

    def _plan(self, frame: Any) -> _Plan:
        """How frames of this shape become output: usually the same for the whole video."""
        turns = round(-frame.rotation / 90) % 4 if self.turns is None else self.turns
        key = (frame.width, frame.height, turns)
        if key not in self._plans:
            self._plans[key] = self._new_plan(*key)
        return self._plans[key]

    def _new_plan(self, stored_w: int, stored_h: int, turns: int) -> _Plan:
        height, width = displayed_size(stored_h, stored_w, self.pixel_shape, turns)
        box = self.box
        y, x, rows, columns = (
            round(share * side)
            for share, side in (
                *((box.top, height), (box.left, width)),
                *((box.height, height), (box.width, width)),
            )
        )
        out_h, out_w = self.size or (rows, columns)
        across, down = Fraction(out_w, columns), Fraction(out_h, rows)
        if self.fit == "crop":
            across = down = max(across, down)
        # The whole picture is scaled, so that the box covers what is wanted; the rest is cut off.
        part_h, part_w = max(out_h, round(rows * down)), max(out_w, round(columns * across))
        cover_h, cover_w = max(part_h, round(height * down)), max(part_w, round(width * across))
        top = min(round(y * down) + (part_h - out_h) // 2, cover_h - out_h)
        left = min(round(x * across) + (part_w - out_w) // 2, cover_w - out_w)
        new_w, new_h = (cover_h, cover_w) if turns % 2 else (cover_w, cover_h)
        halved = 2 * new_h <= stored_h and 2 * new_w <= stored_w
        return _Plan(
            width=new_w,
            height=new_h,
            turns=turns,
            window=(slice(top, top + out_h), slice(left, left + out_w)),
            interpolation=(Interpolation.AREA if halved else Interpolation.BICUBIC) | EXACT,
        )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """Scale to (height, width), turn clockwise by quarters, cut the window out."""

    width: int
    height: int
    turns: int
    window: tuple[slice, slice]
    interpolation: Any


class ClipFrames:
    """The frames of a clip as they come in, in decoding order."""

    def __init__(self, length: int, scaler: Scaler, slots: dict[int, list[int]]) -> None:
        self.slots = slots
        self._length, self._scaler = length, scaler
        self._frames: Frames | None = None

    def take(self, row: int, frame: Any) -> None:
        if self._frames is None:
            self._frames = np.empty((self._length, *self._scaler.shape(frame), 3), dtype=np.uint8)
        if self._scaler.shape(frame) != self._frames.shape[1:3]:
            raise Rejected(Reason.CORRUPT, "the frame size changes on the way: give a size")
        first, *others = self.slots[row]
        self._scaler(frame, self._frames[first])
        for place in others:
            self._frames[place] = self._frames[first]

    def frames(self) -> Frames:
        assert self._frames is not None
        return self._frames
