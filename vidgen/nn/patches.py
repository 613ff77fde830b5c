"""Video as rows of patches, and back.

B batch, C channels, T frames, H height, W width; N = (T/a)(H/b)(W/c) patches (a, b, c).
"""

from __future__ import annotations

from torch import Tensor


def grid_of(sizes: tuple[int, ...], patch: tuple[int, int, int]) -> tuple[int, int, int]:
    """How many patches there are along time, height and width."""
    t, h, w = (size // part for size, part in zip(sizes, patch, strict=True))
    return t, h, w


def patchify(video: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """(B, C, T, H, W) to one row of pixels per patch, (B, N, C*a*b*c)."""
    channels = video.shape[1]
    (a, b, c), (t, h, w) = patch, grid_of(video.shape[2:], patch)
    video = video.reshape(-1, channels, t, a, h, b, w, c).permute(0, 2, 4, 6, 1, 3, 5, 7)
    return video.reshape(-1, t * h * w, channels * a * b * c)


def unpatchify(x: Tensor, shape: tuple[int, int, int, int], patch: tuple[int, int, int]) -> Tensor:
    """The inverse of `patchify`, to (B, *shape) with shape (C, T, H, W)."""
    (a, b, c), (t, h, w) = patch, grid_of(shape[1:], patch)
    x = x.reshape(-1, t, h, w, shape[0], a, b, c).permute(0, 4, 1, 5, 2, 6, 3, 7)
    return x.reshape(-1, *shape)
