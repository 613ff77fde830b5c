"""A critic that marks patches of a video in space and time (PatchGAN, arXiv:1611.07004, in 3D)."""

from __future__ import annotations

from torch import Tensor, nn


class PatchCritic(nn.Module):
    """Marks for the patches of a video; none sees the whole of it.

    No norm that mixes samples or places: gradient penalties look at one sample at a time.
    """

    def __init__(self, channels: int, width: int, depth: int = 3) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for level in range(depth):
            out = width * 2**level
            stride = (1, 2, 2) if level == 0 else (2, 2, 2)
            layers += [nn.Conv3d(channels, out, (3, 4, 4), stride, 1), nn.LeakyReLU(0.2)]
            channels = out
        self.layers = nn.Sequential(*layers, nn.Conv3d(channels, 1, 3, padding=1))

    def forward(self, video: Tensor) -> Tensor:
        """(B, C, T, H, W) to marks (B, 1, T', H', W')."""
        marks: Tensor = self.layers(video)
        return marks
