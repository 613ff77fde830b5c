"""How different two videos look, by features that do not learn.

B batch, C channels, T frames, H height, W width, N frames of all videos, K filters.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.errors import ModelError


def build_features(name: str) -> nn.Module:
    """What turns frames (N, 3, H, W) in [-1, 1] into feature maps: 'filters', or a file.

    Raises ModelError if the file is no TorchScript module that does so.
    """
    if name == "filters":
        return OrientedEnergy()
    try:
        features: nn.Module = torch.jit.load(name, map_location="cpu").eval()  # type: ignore[no-untyped-call]
        maps = _maps(features(torch.zeros(1, 3, 64, 64)))
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).strip().splitlines()[-1]
        raise ModelError(
            f"loss.features {name} cannot be used: {reason}",
            expected="'filters', or a TorchScript file that takes frames (N, 3, H, W)",
        ) from None
    if not maps or any(each.ndim != 4 for each in maps):
        raise ModelError(
            f"loss.features {name} gives no feature maps", expected="one (N, K, h, w) or a list"
        )
    return Frozen(features)


class OrientedEnergy(nn.Module):
    """Energy of pairs of Gabor filters in four directions, at three scales.

    It tells where edges are and how strong, and hardly cares about a shift of half a pixel: what
    blur takes away and pixel losses forgive (Adelson and Bergen 1985).
    """

    kernels: Tensor

    def __init__(self, directions: int = 4, size: int = 7, scales: int = 3) -> None:
        super().__init__()
        self.scales = scales
        y, x = torch.meshgrid(*[torch.arange(size) - size // 2] * 2, indexing="ij")
        window = torch.exp(-(x**2 + y**2) / (2 * 1.5**2))
        pairs = []
        for n in range(directions):
            angle = math.pi * n / directions
            along = (x * math.cos(angle) + y * math.sin(angle)) * (2 * math.pi / 4)
            for wave in (along.cos(), along.sin()):
                kernel = wave * window
                kernel = kernel - window * (kernel.sum() / window.sum())  # blind to brightness
                pairs.append(kernel / kernel.abs().sum())
        self.register_buffer("kernels", torch.stack(pairs)[:, None], persistent=False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """(N, 3, H, W) to one (N, 3 K, h, w) per scale."""
        maps = []
        for scale in range(self.scales):
            if min(frames.shape[-2:]) < self.kernels.shape[-1]:
                break
            n, c, h, w = frames.shape
            waves = F.conv2d(frames.reshape(n * c, 1, h, w), self.kernels)
            even, odd = waves[:, 0::2], waves[:, 1::2]
            energy = (even.square() + odd.square() + 1e-6).sqrt()
            maps.append(energy.reshape(n, -1, *energy.shape[-2:]))
            if scale + 1 < self.scales:
                frames = F.avg_pool2d(frames, 2)
        return maps


class Frozen(nn.Module):
    """A network that judges and does not learn: it stays in evaluation mode, whatever its owner."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval()
        for weight in network.parameters():  # TorchScript modules know no `requires_grad_`
            weight.requires_grad_(False)

    def train(self, mode: bool = True) -> Frozen:
        return self

    def forward(self, *args: Tensor) -> Tensor | list[Tensor] | tuple[Tensor, ...]:
        found: Tensor | list[Tensor] | tuple[Tensor, ...] = self.network(*args)
        return found


class FrameLook(nn.Module):
    """How different two videos look, frame by frame, to features of pictures."""

    def __init__(self, features: nn.Module) -> None:
        super().__init__()
        self.features = features

    def forward(self, video: Tensor, truth: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1], twice, to (B,)."""
        return perceptual_error(self.features, video, truth)


def perceptual_error(features: nn.Module, video: Tensor, truth: Tensor) -> Tensor:
    """Mean absolute difference of the features of each sample, (B,), scales counting alike."""
    with torch.autocast(video.device.type, enabled=False):
        shown, real = (
            _maps(features(each.float().transpose(1, 2).flatten(0, 1))) for each in (video, truth)
        )
        rows = [
            (a - b).abs().reshape(len(video), -1).mean(1) for a, b in zip(shown, real, strict=True)
        ]
        return torch.stack(rows).mean(0)


def _maps(found: Tensor | list[Tensor] | tuple[Tensor, ...]) -> list[Tensor]:
    return [found] if isinstance(found, Tensor) else list(found)
