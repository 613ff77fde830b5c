"""Ways to spoil a clip, each with a strength from 0 to 1: what generated videos do wrong.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Damage = Callable[[Tensor, float, Generator], Tensor]


def spoil(video: Tensor, name: str, strength: float, generator: Generator) -> Tensor:
    """A (3, T, H, W) float clip in [0, 1], spoilt: a row of DAMAGES at a strength in (0, 1]."""
    return DAMAGES[name](video, strength, generator).clamp(0, 1)


def _noise(video: Tensor, s: float, g: Generator) -> Tensor:
    return video + (0.02 + 0.18 * s) * torch.randn(video.shape, generator=g)


def _blur(video: Tensor, s: float, g: Generator) -> Tensor:
    sigma = 0.6 + 2.2 * s
    taps = torch.exp(-(torch.arange(-6, 7).float() ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    frames = F.pad(video.flatten(0, 1)[:, None], (6, 6, 6, 6), mode="replicate")
    frames = F.conv2d(frames, taps.view(1, 1, 1, 13))
    return F.conv2d(frames, taps.view(1, 1, 13, 1)).view(video.shape)


def _blocks(video: Tensor, s: float, g: Generator) -> Tensor:
    """Tiles of 4 or 8 pixels that keep little but their mean, as in a starved codec."""
    tile = 4 if torch.rand((), generator=g) < 0.5 else 8
    frames = video.transpose(0, 1)
    small = F.avg_pool2d(frames, tile)
    flat = F.interpolate(small, size=frames.shape[-2:], mode="nearest").transpose(0, 1)
    return video + (0.25 + 0.6 * s) * (flat - video)


def _shuffle(video: Tensor, s: float, g: Generator) -> Tensor:
    """A share of the frames change places."""
    frames = video.shape[1]
    moved = torch.randperm(frames, generator=g)[: max(2, round(s * frames))]
    order = torch.arange(frames)
    order[moved.sort().values] = moved
    return video[:, order]


def _freeze(video: Tensor, s: float, g: Generator) -> Tensor:
    """The last part stands still; at full strength all of it does."""
    frames = video.shape[1]
    last = min(frames - 2, round((1 - s) * frames))
    return video[:, torch.arange(frames).clamp(max=max(0, last))]


def _flicker(video: Tensor, s: float, g: Generator) -> Tensor:
    gain = 1 + (0.03 + 0.2 * s) * torch.randn(video.shape[1], 1, 1, generator=g)
    return video * gain


def _jitter(video: Tensor, s: float, g: Generator) -> Tensor:
    """Every frame lies a little elsewhere."""
    return _moved(video, (0.02 + 0.1 * s) * torch.randn(video.shape[1], 2, 1, 1, generator=g))


def _melt(video: Tensor, s: float, g: Generator) -> Tensor:
    """Outlines crawl: a smooth bend that is another one in every frame."""
    return _moved(video, (0.05 + 0.2 * s) * torch.randn(video.shape[1], 2, 5, 5, generator=g))


def _stutter(video: Tensor, s: float, g: Generator) -> Tensor:
    """Frames that repeat the one before."""
    frames = video.shape[1]
    held = torch.rand(frames, generator=g) < 0.25 + 0.5 * s
    held[0] = False
    held[1 + int(torch.randint(frames - 1, (), generator=g))] = True
    last = torch.where(held, 0, torch.arange(frames)).cummax(0).values
    return video[:, last]


def _ghost(video: Tensor, s: float, g: Generator) -> Tensor:
    """Past frames shine through."""
    keep = 0.4 + 0.4 * s
    seen, out = video[:, 0], []
    for frame in video.unbind(1):
        seen = keep * seen + (1 - keep) * frame
        out.append(seen)
    return torch.stack(out, 1)


def _drift(video: Tensor, s: float, g: Generator) -> Tensor:
    """Colours run away over time."""
    way = F.normalize(torch.randn(3, 1, 1, 1, generator=g), dim=0) * (0.08 + 0.3 * s)
    return video + way * torch.linspace(0, 1, video.shape[1]).view(1, -1, 1, 1)


def _moved(video: Tensor, by: Tensor) -> Tensor:
    """Frames fetched from elsewhere; `by` is (T, 2, h, w), smooth, in halves of a side."""
    frames = video.transpose(0, 1)
    t, _, h, w = frames.shape
    by = F.interpolate(by, size=(h, w), mode="bicubic", align_corners=False)
    still = F.affine_grid(torch.eye(2, 3).expand(t, 2, 3), [t, 3, h, w], align_corners=False)
    grid = still + by.permute(0, 2, 3, 1)
    found = F.grid_sample(frames, grid, padding_mode="reflection", align_corners=False)
    return found.transpose(0, 1)


DAMAGES: dict[str, Damage] = {
    "noise": _noise,
    "blur": _blur,
    "blocks": _blocks,
    "shuffle": _shuffle,
    "freeze": _freeze,
    "flicker": _flicker,
    "jitter": _jitter,
    "melt": _melt,
    "stutter": _stutter,
    "ghost": _ghost,
    "drift": _drift,
}
