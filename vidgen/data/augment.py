"""Changes to training clips that keep what they show, on the device that trains.

Every clip has draws of its own from its sample seed, the same for all of its frames: what is drawn
depends on neither the batch nor the rank.

Legend: B clips, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.config.data import AugmentConfig
from vidgen.data.order import uniform

# What a number is drawn for; the order is part of what a seed means.
_FLIP, _UPSIDE_DOWN, _ROTATE, _ZOOM, _LEFT, _TOP, _BRIGHT, _CONTRAST, _SATURATION, _NOISE = range(
    10
)
_COUNT = 10


def augment(video: Tensor, seeds: Tensor, config: AugmentConfig) -> Tensor:
    """Changed clips, (B, 3, T, H, W) in [-1, 1] on any device.

    Args:
        seeds: (B,) int64 on the CPU, one per clip.
    """
    if not config.changes_pixels:
        return video
    draws = np.stack([uniform(int(seed), _COUNT) for seed in seeds]) if len(seeds) else None
    if draws is None:
        return video
    video = _move(video, draws, config)
    video = _recolour(video, draws, config)
    return _add_noise(video, draws, seeds, config)


def _move(video: Tensor, draws: np.ndarray, config: AugmentConfig) -> Tensor:
    """Mirror, turn, zoom in and crop, in one resampling."""
    b, c, t, h, w = video.shape
    across = np.where(draws[:, _FLIP] < config.flip, -1.0, 1.0)
    down = np.where(draws[:, _UPSIDE_DOWN] < config.flip_vertical, -1.0, 1.0)
    if config.rotate == 0 and config.zoom == 1:  # exact
        for dim, sign in ((4, across), (3, down)):
            rows = torch.from_numpy(np.flatnonzero(sign < 0)).to(video.device)
            if len(rows):
                video = video.index_copy(0, rows, video[rows].flip(dim))
        return video
    angle = np.radians(config.rotate) * (2 * draws[:, _ROTATE] - 1)
    part = config.zoom ** -draws[:, _ZOOM]  # of the sides that is shown
    # A turned picture has no corners: show the largest part that has none of them empty.
    cos, sin = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    part = part / np.maximum(cos + sin * h / w, cos + sin * w / h)
    room_x = 1 - part * (cos + sin * h / w)
    room_y = 1 - part * (cos + sin * w / h)
    x, y = room_x * (2 * draws[:, _LEFT] - 1), room_y * (2 * draws[:, _TOP] - 1)
    cos, sin = np.cos(angle), np.sin(angle)
    theta = np.stack(
        [
            np.stack([across * part * cos, down * part * -sin * h / w, x], 1),
            np.stack([across * part * sin * w / h, down * part * cos, y], 1),
        ],
        1,
    )  # (B, 2, 3): output places to input places, both in [-1, 1]
    grid = F.affine_grid(
        torch.from_numpy(theta).to(video), [b, c, h, w], align_corners=False
    )  # (B, H, W, 2)
    flat = video.transpose(1, 2).reshape(b, t * c, h, w)
    moved = F.grid_sample(flat, grid, "bilinear", "border", align_corners=False)
    return moved.reshape(b, t, c, h, w).transpose(1, 2).contiguous()


def _recolour(video: Tensor, draws: np.ndarray, config: AugmentConfig) -> Tensor:
    """Brightness, contrast and saturation, each times 1 - x to 1 + x."""
    if not (config.brightness or config.contrast or config.saturation):
        return video

    def factor(column: int, most: float) -> Tensor:
        values = 1 + most * (2 * draws[:, column] - 1)
        return torch.from_numpy(values).to(video).view(-1, 1, 1, 1, 1)

    unit = (video + 1) / 2 * factor(_BRIGHT, config.brightness)
    weights = unit.new_tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1, 1)  # BT.709
    luma = (unit * weights).sum(1, keepdim=True)
    unit = luma + (unit - luma) * factor(_SATURATION, config.saturation)
    middle = luma.mean(dim=(2, 3, 4), keepdim=True)
    unit = middle + (unit - middle) * factor(_CONTRAST, config.contrast)
    return unit.clamp(0, 1) * 2 - 1


def _add_noise(video: Tensor, draws: np.ndarray, seeds: Tensor, config: AugmentConfig) -> Tensor:
    """Gaussian noise of its own strength for each clip, other in every frame."""
    if not config.noise:
        return video
    generator = torch.Generator(video.device)
    noise = torch.empty_like(video)
    for number, seed in enumerate(seeds.tolist()):
        generator.manual_seed(seed)
        noise[number].normal_(generator=generator)
    strength = torch.from_numpy(2 * config.noise * draws[:, _NOISE]).to(video)
    return (video + noise * strength.view(-1, 1, 1, 1, 1)).clamp(-1, 1)


def speed(seed: int, fastest: float, most: float) -> float:
    """How many times faster a clip is played: 1 / fastest to fastest, evenly on a log scale, and
    no more than `most`, what its length allows."""
    if fastest == 1:
        return 1.0
    exponent = 2 * float(uniform(seed ^ _SPEED, 1)[0]) - 1
    return min(math.exp(exponent * math.log(fastest)), most)


_SPEED = 0x5EED
