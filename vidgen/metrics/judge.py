"""A judge that says what a video of a moving shape shows, from its pixels alone.

Hand-written image analysis: no training, no captions, no randomness. It sees a shape only where
one compact patch stands out from one even background for most of the video; otherwise it answers
"none", so that noise, stills and empty pictures do not pass.
Legend: B videos, C channels, T frames, H height, W width, S side of the shape templates.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.data.shapes import (
    BACKGROUNDS,
    COLOURS,
    DIRECTIONS,
    SHAPES,
    SPEEDS,
    Rgb,
    outline,
    read_caption,
)

JUDGE = "shapes-judge-v1"  # named in the protocol of its scores; new when its answers change
NONE = "none"

# Lengths are shares of the picture's side, areas shares of the picture, colour distances Euclidean
# in RGB of [-1, 1]: black to white is 3.5.
_BORDER = 0.06  # strip that shows background
_MAX_UNREST = 0.15  # typical deviation of that strip from one colour
_MIN_CONTRAST = 0.35  # between shape and background
_AREA = (0.01, 0.35)
_MIN_COMPACT = 0.6  # area over that of the ellipse of equal moments: near 1 for our shapes
_MIN_SEEN = 0.7  # share of frames
_MAX_COLOUR_GAP = 0.7  # to the nearest named colour
_MAX_BACKGROUND_GAP = 0.4
_MIN_WAY = 0.07  # from first to last frame
_MAX_DRIFT = 0.5  # way across over way along
_FAST = (SPEEDS["slowly"] + SPEEDS["quickly"]) / 2
_MIN_OVERLAP = 0.6  # with the best shape template, intersection over union
_SIDE = 24  # S
_REACH = 1.3  # a template shows this many square roots of the shape's area to each side


def asked_for(caption: str) -> dict[str, str] | None:
    """The attributes a caption names, to hold against `judge`; None if it is not of this world."""
    scene = read_caption(caption)
    return None if scene is None else scene.attributes()


def judge(video: Tensor) -> list[dict[str, str]]:
    """What each video shows, a word of `vidgen.data.shapes` or "none" for each of ATTRIBUTES.

    Args:
        video: (B, 3, T, H, W) in [-1, 1], any size and length.
    """
    assert video.shape[1:2] == (3,), f"want (B, 3, T, H, W), got {video.shape}"
    video = video.detach().float().cpu().clamp(-1, 1)
    back, unrest = _background(video)
    gap = (video - back[:, :, None, None, None]).norm(dim=1)  # (B, T, H, W)

    # How far the shape stands out: the level that about 1 % of the pixels reach in most frames.
    h, w = gap.shape[2:]
    top = gap.flatten(2).topk(max(4, round(0.012 * h * w)), dim=-1).values.mean(-1)  # (B, T)
    contrast = top.median(dim=-1).values  # (B,)
    area, compact, centre = _moments((gap > contrast[:, None, None, None] / 2).float())
    good = (
        (compact > _MIN_COMPACT)
        & (area > _AREA[0])
        & (area < _AREA[1])
        & (top > 0.6 * contrast[:, None])
    )  # (B, T)
    calm = unrest < _MAX_UNREST
    seen = calm & (contrast > _MIN_CONTRAST) & (good.float().mean(1) >= _MIN_SEEN)
    weight = good.float() / good.sum(1, keepdim=True).clamp_min(1)  # (B, T), sums to 1

    strong = (gap > 0.75 * contrast[:, None, None, None]) & good[..., None, None]
    front = (video * strong[:, None]).flatten(2).sum(-1) / strong.flatten(1).sum(-1)[
        :, None
    ].clamp_min(1)
    colour, colour_gap = _nearest(front, COLOURS)
    background, background_gap = _nearest(back, BACKGROUNDS)
    direction, way, drift = _motion(centre, weight)
    shape, overlap = _shape(video, front, back, weight)
    moving = (way > _MIN_WAY) & (drift < _MAX_DRIFT * way)

    answers = []
    for i in range(len(video)):
        speed = "quickly" if way[i] > _FAST else "slowly"
        there = bool(seen[i])
        answers.append(
            {
                "colour": colour[i] if there and colour_gap[i] < _MAX_COLOUR_GAP else NONE,
                "shape": shape[i] if there and overlap[i] > _MIN_OVERLAP else NONE,
                "direction": direction[i] if there and moving[i] else NONE,
                "speed": speed if there and moving[i] else NONE,
                "background": background[i]
                if calm[i] and background_gap[i] < _MAX_BACKGROUND_GAP
                else NONE,
            }
        )
    return answers


def _background(video: Tensor) -> tuple[Tensor, Tensor]:
    """Median colour of the border over all frames, (B, 3), and how far it varies, (B,)."""
    n = max(1, round(_BORDER * min(video.shape[-2:])))
    strips = (video[..., :n, :], video[..., -n:, :], video[..., :n], video[..., -n:])
    border = torch.cat([strip.flatten(2) for strip in strips], dim=-1)  # (B, 3, pixels)
    back = border.median(dim=-1).values
    return back, (border - back[..., None]).abs().median(dim=-1).values.mean(-1)


def _moments(mask: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Area (B, T), compactness (B, T) and centroid (B, T, 2), x then y, of (B, T, H, W)."""
    x, y = _grid(mask)
    total = mask.sum((2, 3)).clamp_min(1e-4)
    cx, cy = (mask * x).sum((2, 3)) / total, (mask * y).sum((2, 3)) / total
    dx, dy = x - cx[..., None, None], y - cy[..., None, None]
    xx = (mask * dx * dx).sum((2, 3)) / total
    yy = (mask * dy * dy).sum((2, 3)) / total
    xy = (mask * dx * dy).sum((2, 3)) / total
    area = mask.mean((2, 3))
    ellipse = 4 * math.pi * (xx * yy - xy * xy).clamp_min(1e-8).sqrt()
    return area, area / ellipse, torch.stack([cx, cy], dim=-1)


def _motion(centre: Tensor, weight: Tensor) -> tuple[list[str], Tensor, Tensor]:
    """Direction, way along it and way across it, (B,), by a straight line through the centroids."""
    time = torch.linspace(-0.5, 0.5, centre.shape[1]).expand_as(weight)
    time = time - (weight * time).sum(1, keepdim=True)
    spread = (weight * time * time).sum(1).clamp_min(1e-6)
    velocity = ((weight * time)[..., None] * centre).sum(1) / spread[:, None]  # (B, 2)
    steps = torch.tensor(list(DIRECTIONS.values()), dtype=torch.float32)  # (4, 2)
    way, best = (velocity @ steps.T).max(dim=-1)
    across = velocity - way[:, None] * steps[best]
    names = list(DIRECTIONS)
    return [names[i] for i in best.tolist()], way, across.norm(dim=-1)


def _shape(video: Tensor, front: Tensor, back: Tensor, weight: Tensor) -> tuple[list[str], Tensor]:
    """Best template by overlap with the shape's mean outline, and that overlap, (B,).

    Each frame is cut out around the centroid at a scale that makes the area one, so that neither
    place nor size matters; the mean over frames takes out noise and pixel steps.
    """
    axis = front - back
    cover = torch.einsum("bcthw,bc->bthw", video - back[:, :, None, None, None], axis)
    cover = cover / axis.square().sum(1).clamp_min(1e-4)[:, None, None, None]
    cover = cover.clamp(0, 1)
    cover = torch.where(cover < 0.15, 0.0, cover)  # what is left of noise and compression
    area, _, centre = _moments(cover)
    h, w = cover.shape[-2:]
    side = (area * h * w).clamp_min(1e-2).sqrt()[..., None, None]  # (B, T, 1, 1) in pixels
    reach = (torch.arange(_SIDE) + 0.5) / _SIDE * 2 * _REACH - _REACH  # (S,)
    x = 2 * (centre[..., 0, None, None] + side / w * reach) - 1  # (B, T, 1, S)
    y = 2 * (centre[..., 1, None, None] + side / h * reach[:, None]) - 1  # (B, T, S, 1)
    places = torch.stack([x + 0 * y, y + 0 * x], dim=-1).flatten(0, 1)  # (B*T, S, S, 2)
    cut = F.grid_sample(cover.flatten(0, 1)[:, None], places, align_corners=False)  # (B*T, 1, S, S)
    mean = (cut.reshape(*weight.shape, _SIDE, _SIDE) * weight[..., None, None]).sum(1)  # (B, S, S)
    templates = _templates()
    both = torch.minimum(mean[:, None], templates).sum((2, 3))
    either = torch.maximum(mean[:, None], templates).sum((2, 3))
    overlap, best = (both / either).max(dim=-1)
    return [SHAPES[i] for i in best.tolist()], overlap


@cache
def _templates() -> Tensor:
    """Every shape with area one, (shapes, S, S), each cell the mean of 4x4 points."""
    points = ((np.arange(4 * _SIDE) + 0.5) / (4 * _SIDE) * 2 - 1) * _REACH
    inside = [outline(s, points, points[:, None], 1 / math.sqrt(math.pi)) < 0 for s in SHAPES]
    fine = torch.from_numpy(np.stack(inside)).float()
    return fine.reshape(len(SHAPES), _SIDE, 4, _SIDE, 4).mean((2, 4))


def _nearest(colour: Tensor, palette: dict[str, Rgb]) -> tuple[list[str], Tensor]:
    """Name of the nearest colour of a palette, and the distance, (B,)."""
    known = torch.tensor(list(palette.values())) / 127.5 - 1
    distance, best = torch.cdist(colour, known).min(dim=-1)
    names = list(palette)
    return [names[i] for i in best.tolist()], distance


def _grid(like: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel centres as shares of the sides: x (W,) and y (H, 1)."""
    h, w = like.shape[-2:]
    return (torch.arange(w) + 0.5) / w, ((torch.arange(h) + 0.5) / h)[:, None]
