"""Decoded frames to upright RGB arrays of one size, inside swscale."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter
from numpy.typing import NDArray

from vidgen.data.packets import displayed_size

Frames = NDArray[np.uint8]  # (..., H, W, 3) RGB
Fit = Literal["crop", "stretch"]

_EXACT = Interpolation.ACCURATE_RND | Interpolation.BITEXACT


class Scaler:
    """Turns frames into RGB arrays; the swscale context is reused.

    Shrinking averages areas, growing is bicubic.

    Args:
        size: (H, W) of the result; None keeps the displayed size.
        fit: "crop" scales until both sides are covered and cuts the middle out, "stretch" ignores
            the aspect ratio.
        pixel_shape: width of a stored pixel over its height.
        turns: quarter turns clockwise from stored to displayed frames.
    """

    def __init__(
        self, size: tuple[int, int] | None, fit: Fit, pixel_shape: Fraction, turns: int
    ) -> None:
        self.size, self.fit, self.pixel_shape, self.turns = size, fit, pixel_shape, turns
        self._reformatter = VideoReformatter()

    def shape(self, frame: Any) -> tuple[int, int]:
        """(H, W) of the result."""
        return self.size or displayed_size(frame.height, frame.width, self.pixel_shape, self.turns)

    def __call__(self, frame: Any, out: Frames | None = None) -> Frames:
        """(H, W, 3) uint8; written into `out` where given."""
        height, width = displayed_size(frame.height, frame.width, self.pixel_shape, self.turns)
        out_h, out_w = self.size or (height, width)
        covered_h, covered_w = out_h, out_w
        if self.fit == "crop":
            scale = max(Fraction(out_h, height), Fraction(out_w, width))
            covered_h = max(out_h, round(height * scale))
            covered_w = max(out_w, round(width * scale))
        stored_h, stored_w = (covered_w, covered_h) if self.turns % 2 else (covered_h, covered_w)
        shrinks = stored_h <= frame.height and stored_w <= frame.width
        picture = self._reformatter.reformat(
            frame,
            width=stored_w,
            height=stored_h,
            format="rgb24",
            interpolation=(Interpolation.AREA if shrinks else Interpolation.BICUBIC) | _EXACT,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        plane: Any = picture.planes[0]
        rows = np.frombuffer(plane, dtype=np.uint8).reshape(stored_h, plane.line_size)
        array = rows[:, : stored_w * 3].reshape(stored_h, stored_w, 3)  # a view
        array = np.rot90(array, -self.turns)  # (covered_h, covered_w, 3)
        top, left = (covered_h - out_h) // 2, (covered_w - out_w) // 2
        array = array[top : top + out_h, left : left + out_w]
        if out is None:
            return np.ascontiguousarray(array) if array.base is not None else array.copy()
        out[...] = array
        return out
