"""Clips spoilt on purpose, and a ruler for how far that takes them from real ones."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vidgen.metrics.features.base import Extractor
from vidgen.metrics.frechet import Gaussian, frechet_distance

WAYS = ("noise", "blur", "shuffle", "freeze", "flicker", "reverse")


def spoil(name: str, clips: Tensor) -> Tensor:
    """(N, 3, T, H, W) uint8 clips, all spoilt in one of the WAYS."""
    generator = torch.Generator().manual_seed(0)
    n, t = clips.shape[0], clips.shape[2]
    x = clips.float()
    if name == "noise":
        x = x + 25 * torch.randn(x.shape, generator=generator)
    elif name == "blur":
        taps = torch.exp(-(torch.arange(-4, 5).float() ** 2) / 4.5)
        taps = taps / taps.sum()
        frames = F.pad(x.flatten(0, 2)[:, None], (4, 4, 4, 4), mode="replicate")
        frames = F.conv2d(F.conv2d(frames, taps.view(1, 1, 1, 9)), taps.view(1, 1, 9, 1))
        x = frames.view(x.shape)
    elif name == "shuffle":
        x = torch.stack([clip[:, torch.randperm(t, generator=generator)] for clip in x])
    elif name == "freeze":
        x = x[:, :, :1].expand_as(x)
    elif name == "flicker":
        x = x * (1 + 0.1 * torch.randn(n, 1, t, 1, 1, generator=generator))
    elif name == "reverse":
        x = x.flip(2)
    else:
        assert name == "clean", name
    return x.round().clamp(0, 255).to(torch.uint8)


class Ruler:
    """Fréchet distance to real clips, over that between two halves of the real clips."""

    def __init__(self, extractor: Extractor, clips: Tensor) -> None:
        self.extractor, self.other = extractor, clips[1::2]
        self.real = Gaussian.of(self.features(clips[::2]))
        self.unit = self.distance(self.other)

    def features(self, clips: Tensor) -> Tensor:
        return torch.cat([self.extractor(part) for part in clips.split(8)])

    def distance(self, clips: Tensor) -> float:
        return frechet_distance(self.real, Gaussian.of(self.features(clips)))

    def ratio(self, name: str) -> float:
        return self.distance(spoil(name, self.other)) / self.unit
