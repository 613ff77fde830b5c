"""Encoder and decoder of the vae family: causal in time, so both can go on from frame to frame.

B batch, C channels, T frames, H height, W width; Z latent channels, t, h and w the latent's size.
"""

from __future__ import annotations

import math

import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.models.vae.config import Config
from vidgen.nn.causal import Cache, CausalBlock, CausalConv3d, fold, unfold
from vidgen.nn.conv import ChannelNorm


class Encoder(nn.Module):
    """(B, C, T, H, W) to (B, out, t, h, w)."""

    def __init__(self, config: Config, channels: int, out: int) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        self.enter = nn.Conv3d(channels * math.prod(config.patch), widths[0], 1)
        self.stages = nn.ModuleList(Stage(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.down = nn.ModuleList(
            nn.Conv3d(fine * math.prod(factors), coarse, 1)
            for fine, coarse, factors in zip(widths, widths[1:], config.shrink, strict=False)
        )
        self.norm, self.leave = ChannelNorm(widths[-1]), CausalConv3d(widths[-1], out)

    def forward(self, video: Tensor, cache: Cache | None = None) -> Tensor:
        x = self.enter(fold(video, self.config.patch))
        for level, stage in enumerate(self.stages):
            if level:
                x = self.down[level - 1](fold(x, self.config.shrink[level - 1]))
            x = stage(x, cache)
        latents: Tensor = self.leave(F.silu(self.norm(x)), cache)
        return latents


class Decoder(nn.Module):
    """(B, Z, t, h, w) to (B, C, T, H, W)."""

    def __init__(self, config: Config, channels: int, latent: int) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        self.enter = CausalConv3d(latent, widths[-1])
        self.stages = nn.ModuleList(Stage(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.up = nn.ModuleList(
            nn.Conv3d(coarse, fine * math.prod(factors), 1)
            for fine, coarse, factors in zip(widths, widths[1:], config.shrink, strict=False)
        )
        self.norm = ChannelNorm(widths[0])
        self.leave = CausalConv3d(widths[0], channels * math.prod(config.patch))

    def forward(self, latents: Tensor, cache: Cache | None = None) -> Tensor:
        x = self.enter(latents, cache)
        for level in reversed(range(len(self.stages))):
            x = self.stages[level](x, cache)
            if level:
                x = unfold(self.up[level - 1](x), self.config.shrink[level - 1])
        x = self.leave(F.silu(self.norm(x)), cache)
        return unfold(x, self.config.patch).float()


class Stage(nn.Module):
    """The blocks of a level, one after the other."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width) for _ in range(blocks))

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, cache)
        return x
