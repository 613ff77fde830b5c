"""Temporal consistency: does the picture move, and does it move as real video does?

Four measurements of a clip, none of which is good by being small: a frozen clip has no warping
    error, no
flicker and perfect smoothness. So each is compared with the level of real clips, and motion itself
is one of the four; a model scores 1 only by being neither worse nor calmer than real video.

Legend: N clips, T frames, H height, W width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from vidgen.errors import EvaluationError
from vidgen.metrics.flow import Array, flow, grey, occluded, warp

MEASURES = ("warp_error", "flicker", "roughness", "motion")
# Below this a measurement is rounding noise: a tenth of a grey level; for motion, of the frame's
# size.
FLOORS = {"warp_error": 4e-4, "flicker": 4e-4, "roughness": 4e-4, "motion": 1e-4}
_TILES = 4


def measure(video: Array) -> dict[str, float]:
    """The four measurements of a (T, H, W, 3) uint8 clip, T >= 3. All are >= 0.

    warp_error: mean absolute difference between a frame and its predecessor moved along the
        optical flow, outside of occlusions, in [0, 1] (Lai et al. 2018).
    flicker: mean absolute second difference of the brightness of tiles, in [0, 1]: brightness that
        jumps back and forth; steady motion and fades give little.
    roughness: mean absolute difference between a frame and the middle of its neighbours, each
        moved half of the way along the flow between them, in [0, 1]: how badly the frame
        interpolates.
    motion: mean length of the optical flow, in frame diagonals a frame.
    """
    if video.ndim != 4 or video.dtype != np.uint8 or len(video) < 3:
        raise EvaluationError(
            f"temporal consistency got a clip of shape {video.shape} and type {video.dtype}",
            expected="(T, H, W, 3) uint8 with at least 3 frames",
        )
    luma = grey(video)
    colour = video.astype(np.float32) / 255
    warp_error, motion = [], []
    for t in range(1, len(video)):
        back = flow(luma[t], luma[t - 1])
        seen = ~occluded(back, flow(luma[t - 1], luma[t]))
        error = np.abs(warp(colour[t - 1], back) - colour[t]).mean(-1)
        # A cut leaves nothing that is not occluded; then all of the picture is the error.
        warp_error.append(error[seen].mean() if seen.mean() > 0.05 else error.mean())
        motion.append(np.hypot(back[..., 0], back[..., 1]).mean())
    roughness = [_interpolation_error(luma, colour, t) for t in range(1, len(video) - 1)]
    return {
        "warp_error": float(np.mean(warp_error)),
        "flicker": _flicker(luma),
        "roughness": float(np.mean(roughness)),
        "motion": float(np.mean(motion) / np.hypot(*luma.shape[1:])),
    }


def _interpolation_error(luma: Array, colour: Array, t: int) -> float:
    there = flow(luma[t - 1], luma[t + 1])
    back = flow(luma[t + 1], luma[t - 1])
    # A pixel of the middle frame came from p - there/2 and goes to p - back/2.
    middle = (warp(colour[t - 1], -there / 2) + warp(colour[t + 1], -back / 2)) / 2
    return float(np.abs(middle - colour[t]).mean())


def _flicker(luma: Array) -> float:
    frames, height, width = luma.shape
    h, w = height // _TILES, width // _TILES
    tiles = luma[:, : h * _TILES, : w * _TILES].reshape(frames, _TILES, h, _TILES, w).mean((2, 4))
    return float(np.abs(np.diff(tiles, n=2, axis=0)).mean() / 255)


def consistency(real: Tensor, fake: Tensor) -> dict[str, float]:
    """How alike the measurements of generated and real clips are distributed.

    For each measurement the deciles of both sides are divided, smaller by larger, and averaged: 1
    when the distributions match, near 0 when one side is frozen or far rougher.
    `temporal_consistency` is the geometric mean of the four, so that none makes up for another.

    Args:
        real, fake: (N, 4) and (M, 4) measurements, columns as in MEASURES.
    """
    scores = {}
    at = torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    for column, name in enumerate(MEASURES):
        r, f = (torch.quantile(x[:, column].double(), at) + FLOORS[name] for x in (real, fake))
        scores[name] = float((torch.minimum(r, f) / torch.maximum(r, f)).mean())
    together = math.prod(scores.values()) ** (1 / len(scores))
    return {"temporal_consistency": together, **{f"{n}_agreement": s for n, s in scores.items()}}


def measure_all(video: Tensor) -> Tensor:
    """(B, 4) float64 measurements of (B, 3, T, H, W) uint8 clips, columns as in MEASURES."""
    clips = video.permute(0, 2, 3, 4, 1).cpu().numpy()
    rows = [list(measure(clip).values()) for clip in clips]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(MEASURES))
