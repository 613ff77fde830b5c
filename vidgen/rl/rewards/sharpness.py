"""As sharp as real clips: edges, but no more of them than real video has."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vidgen.rl.rewards.level import Level, luma


class Sharpness(Level):
    """Mean absolute Laplacian of the brightness."""

    reads = "every frame by itself"

    def measure(self, video: Tensor) -> Tensor:
        light = luma(video)
        frames = light.flatten(0, 1)[:, None]  # (B T, 1, H, W)
        kernel = frames.new_tensor([[0.0, 1, 0], [1, -4, 1], [0, 1, 0]])[None, None]
        edges = F.conv2d(frames, kernel).abs().flatten(1).mean(1)
        return edges.reshape(light.shape[:2]).mean(1)


build = Sharpness
