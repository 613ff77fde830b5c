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
from vidgen.nn.waves import slow_waves


class Encoder(nn.Module):
    """(B, C, T, H, W) to what convolutions find, (B, out, t, h, w), and a small copy, Z channels.

    Beside the convolutions a straight way leads from a box of pixels to its latents. Training
    starts from that small copy of the video alone, and learns what it leaves out; without, it
    dwells long on the mean colour (residual autoencoding, arXiv:2410.10733).
    """

    straight: Tensor

    def __init__(self, config: Config, channels: int, latent: int, out: int) -> None:
        super().__init__()
        self.config, widths = config, config.widths
        self.enter = nn.Conv3d(channels * math.prod(config.patch), widths[0], 1)
        self.stages = nn.ModuleList(Stage(w, n) for w, n in zip(widths, config.blocks, strict=True))
        self.down = nn.ModuleList(
            nn.Conv3d(fine * math.prod(factors), coarse, 1)
            for fine, coarse, factors in zip(widths, widths[1:], config.shrink, strict=False)
        )
        self.norm, self.leave = ChannelNorm(widths[-1]), CausalConv3d(widths[-1], out)
        waves = slow_waves(channels, config.factors, latent)
        straight = (waves / math.prod(config.factors))[:, :, None, None, None]
        self.register_buffer("straight", straight, persistent=False)
        nn.init.zeros_(self.leave.conv.weight)
        nn.init.zeros_(self.leave.conv.bias)  # type: ignore[arg-type]

    def forward(self, video: Tensor, cache: Cache | None = None) -> tuple[Tensor, Tensor]:
        x = self.enter(fold(video, self.config.patch))
        for level, stage in enumerate(self.stages):
            if level:
                x = self.down[level - 1](fold(x, self.config.shrink[level - 1]))
            x = stage(x, cache)
        found: Tensor = self.leave(F.silu(self.norm(x)), cache)
        return found, F.conv3d(fold(video, self.config.factors), self.straight)


class Decoder(nn.Module):
    """(B, Z, t, h, w) to (B, C, T, H, W); with the way back of the encoder's straight one."""

    straight: Tensor

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
        # One place each: a larger kernel over all those pixels was a fifth of the work.
        self.leave = nn.Conv3d(widths[0], channels * math.prod(config.patch), 1)
        waves = slow_waves(channels, config.factors, latent)
        self.register_buffer("straight", waves.T[:, :, None, None, None], persistent=False)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]

    def forward(self, latents: Tensor, cache: Cache | None = None) -> Tensor:
        x = self.enter(latents, cache)
        for level in reversed(range(len(self.stages))):
            x = self.stages[level](x, cache)
            if level:
                x = unfold(self.up[level - 1](x), self.config.shrink[level - 1])
        x = self.leave(F.silu(self.norm(x)))
        copy = unfold(F.conv3d(latents, self.straight), self.config.factors)
        return unfold(x, self.config.patch).float() + copy.float()


class Stage(nn.Module):
    """The blocks of a level, one after the other."""

    def __init__(self, width: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(CausalBlock(width) for _ in range(blocks))

    def forward(self, x: Tensor, cache: Cache | None = None) -> Tensor:
        for block in self.blocks:
            x = block(x, cache)
        return x
