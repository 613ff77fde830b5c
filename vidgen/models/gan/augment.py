"""Augmentation of what a discriminator sees, the same for all frames of a clip.

B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

_DRAWS = 8  # uniform numbers a clip needs


def draw_changes(seeds: Tensor, salt: int) -> Tensor:
    """(B, 8) uniform numbers, each clip's from its own seed; `salt` tells uses apart."""
    rows = [
        torch.rand(_DRAWS, generator=torch.Generator().manual_seed((seed ^ salt) & (2**63 - 1)))
        for seed in seeds.tolist()
    ]
    return torch.stack(rows)


def augmented(video: Tensor, often: float | Tensor, draws: Tensor) -> Tensor:
    """Clips mirrored, moved by up to an eighth and recoloured, each with the chance `often`.

    Differentiable. No frame is treated differently from another, or motion would change.
    """
    u = draws.to(video.device)
    _, _, _, h, w = video.shape
    chance = often

    def pick(column: int, changed: Tensor, kept: Tensor) -> Tensor:
        return torch.where((u[:, column] < chance).view(-1, *(1,) * (kept.ndim - 1)), changed, kept)

    video = pick(0, video.flip(-1), video)
    video = pick(1, _moved(video, u[:, 2], u[:, 3], h // 8, w // 8), video)
    five = (-1, 1, 1, 1, 1)
    bright = (u[:, 5].view(five) - 0.5) * 0.4
    contrast = 0.75 + 0.5 * u[:, 6].view(five)
    colour = 0.5 + u[:, 7].view(five)
    grey = video.mean(1, keepdim=True)
    recoloured = (grey + (video - grey) * colour) * contrast + bright
    return pick(4, recoloured, video)


def _moved(video: Tensor, down: Tensor, right: Tensor, most_down: int, most_right: int) -> Tensor:
    """Each clip moved by whole pixels; edges are repeated."""
    _, _, _, h, w = video.shape
    y = torch.arange(h, device=video.device) - _pixels(down, most_down)[:, None]  # (B, H)
    x = torch.arange(w, device=video.device) - _pixels(right, most_right)[:, None]
    rows = y.clamp(0, h - 1)[:, None, None, :, None].expand_as(video)
    columns = x.clamp(0, w - 1)[:, None, None, None, :].expand_as(video)
    return video.gather(3, rows).gather(4, columns)


def _pixels(u: Tensor, most: int) -> Tensor:
    return ((u * (2 * most + 1)).floor() - most).long()
