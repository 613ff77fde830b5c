"""How good a clip looks, measured on its frames at the size that is trained on.

Legend: T frames, H height, W width, S frames that are looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidgen.config.prepare import PrepareOptions
from vidgen.data.picture import Frames
from vidgen.data.reasons import Reason

_VISIBLE = 16  # levels of 255; smaller changes are noise of sensor and codec
_NOTHING = 6  # levels of 255; what coding alone changes in a still
_SOMETHING = 40  # levels of 255; more than a key frame changes in a still
_FEW = 2e-4  # share of pixels that may change more in one
_LOOKED_AT = 5  # frames of a clip for what hardly changes within it
_EDGE = 0.01  # of full scale from pixel to pixel; less is no edge
_BLOCK = 8  # pixels; noise is what even the smoothest blocks have
_BT709 = np.array([0.2126, 0.7152, 0.0722], np.float32)

Luma = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Of a clip. All are shares or relative to full scale, 0 to 1.

    Attributes:
        motion: mean absolute change between consecutive frames.
        moving: share of pixels that change visibly at some time.
        frozen: longest stretch of the clip in which nothing changes at all.
        brightness: mean luma.
        blur: how little is lost by blurring again; 0 is sharp.
        noise: standard deviation of what differs from pixel to pixel in the smoothest places.
    """

    motion: float
    moving: float
    frozen: float
    brightness: float
    blur: float
    noise: float


def measure(frames: Frames) -> Quality:
    """Look at a clip, (T, H, W, 3) uint8."""
    changes = [np.maximum(a, b) - np.minimum(a, b) for a, b in pairwise(frames)]
    same = np.array([float((each > _NOTHING).mean()) <= _FEW for each in changes], np.bool_)
    mild = np.array([float((each > _SOMETHING).mean()) <= _FEW for each in changes], np.bool_)
    same[1:-1] |= mild[1:-1] & same[:-2] & same[2:]  # a key frame amid copies is coded anew
    spread = (frames.max(0) - frames.min(0)).max(-1)  # (H, W)
    chosen = frames[np.linspace(0, len(frames) - 1, min(len(frames), _LOOKED_AT)).astype(int)]
    luma = chosen @ _BT709 / np.float32(255)  # (S, H, W)
    return Quality(
        motion=float(np.mean([each.mean() for each in changes])) / 255 if changes else 0.0,
        moving=float((spread > _VISIBLE).mean()),
        frozen=_longest_run(same) / max(1, len(same)),
        brightness=float(luma.mean()),
        blur=float(np.median([_blur(each) for each in luma])),
        noise=float(np.median([_noise(each) for each in luma])),
    )


def fault(quality: Quality, options: PrepareOptions) -> tuple[Reason, str] | None:
    """The first thing about a clip that is not good enough, and what was seen."""
    q, o = quality, options
    checks: list[tuple[bool, Reason, str]] = [
        (q.brightness < o.min_brightness, Reason.DARK, f"mean brightness {q.brightness:.3f}"),
        (q.brightness > o.max_brightness, Reason.BRIGHT, f"mean brightness {q.brightness:.3f}"),
        (q.moving < o.min_moving, Reason.STATIC, f"{q.moving:.2%} of the picture moves"),
        (q.frozen > o.max_frozen, Reason.FROZEN, f"nothing changes for {q.frozen:.0%} of it"),
        (q.noise > o.max_noise, Reason.NOISY, f"noise of {q.noise:.3f}"),
        (q.blur > o.max_blur, Reason.BLURRY, f"blur of {q.blur:.2f}"),
    ]
    return next(((reason, text) for bad, reason, text in checks if bad), None)


def _longest_run(flags: NDArray[np.bool_]) -> int:
    """Length of the longest row of True."""
    ends = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]])))
    return int((ends[1::2] - ends[::2]).max(initial=0))


def _blur(luma: Luma) -> float:
    """Crete et al. 2007, "The blur effect": what is sharp loses much when it is blurred. Only the
    strongest edges are asked: a sky, a wall or what is out of focus behind is meant to be smooth.
    """
    lost, total = np.sum([_edges(luma), _edges(luma.T)], axis=0)
    return float(1 - lost / total) if total > 0 else 1.0


def _edges(luma: Luma) -> tuple[float, float]:
    """(what strong edges across the rows lose to blurring, their strength)."""
    width = max(7, round(luma.shape[1] * 0.07) | 1)
    padded = np.pad(luma, ((0, 0), (width // 2 + 1, width // 2)), mode="edge")
    sums = np.cumsum(padded, axis=1, dtype=np.float64)
    soft = (sums[:, width:] - sums[:, :-width]) / width
    own, left = np.abs(np.diff(luma, axis=1)), np.abs(np.diff(soft, axis=1))
    strong = own >= max(_EDGE, 0.5 * float(np.quantile(own, 0.99)))
    return float(np.maximum(0, own - left)[strong].sum()), float(own[strong].sum())


def _noise(luma: Luma) -> float:
    """Immerkaer 1996, "Fast noise variance estimation", block by block: the smoothest third."""
    a: Any = np.abs(
        luma[:-2, :-2] + luma[:-2, 2:] + luma[2:, :-2] + luma[2:, 2:]
        - 2 * (luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:])
        + 4 * luma[1:-1, 1:-1]
    )  # fmt: skip
    rows, columns = a.shape[0] // _BLOCK, a.shape[1] // _BLOCK
    if not rows or not columns:
        return 0.0
    blocks = a[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
    return float(np.quantile(blocks.mean((1, 3)), 1 / 3) * np.sqrt(np.pi / 2) / 6)
