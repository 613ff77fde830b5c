"""The convolutional family's VideoModel: all past frames in, all future frames out.

SimVP (arXiv:2206.05099) with gated spatial attention (arXiv:2211.12509).
B batch, C channels, P past frames, T future frames, H height, W width; S channels of a frame,
D of the translator, h and w the size after the encoder.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.models.base import VideoSpec
from vidgen.models.convolutional.config import Config
from vidgen.models.predictor import Predictor
from vidgen.nn.conv import ChannelNorm, StochasticDepth, rising
from vidgen.nn.trend import Trend


class ConvolutionalModel(Predictor):
    """Adds to the last frame what changes until each future one."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = spec.shape
        width, wide = config.width, config.translator_width
        self.enter = _layer(spec.channels, width)
        self.down = nn.Sequential(
            *(_layer(width, width, stride=2) for _ in range(config.levels)), _layer(width, width)
        )
        self.gather = nn.Conv2d(config.past_frames * width, wide, 1)
        self.blocks = nn.ModuleList(
            Block(config, share) for share in rising(config.stochastic_depth, config.depth)
        )
        self.spread = nn.Conv2d(wide, spec.frames * width, 1)
        self.up = nn.Sequential(
            *(
                nn.Sequential(_layer(width, 4 * width), nn.PixelShuffle(2))
                for _ in range(config.levels)
            )
        )
        self.join = _layer(2 * width, width)
        self.leave = nn.Conv2d(width, spec.channels, 1)
        nn.init.zeros_(self.leave.weight)  # training starts from the last frame repeated
        nn.init.zeros_(self.leave.bias)  # type: ignore[arg-type]
        self.trend = Trend(config.past_frames, spec.frames) if config.trend else None

    def forward(self, past: Tensor) -> Tensor:
        """(B, C, P, H, W) to the future, (B, C, T, H, W)."""
        b, _, p, _, _ = past.shape
        frames = self.video_shape[1]
        fine = self.enter(past.transpose(1, 2).flatten(0, 1))  # (B*P, S, H, W)
        coarse = self.down(fine)  # (B*P, S, h, w)
        x = self.gather(coarse.unflatten(0, (b, p)).flatten(1, 2))  # (B, D, h, w)
        for block in self.blocks:
            x = block(x)
        x = self.spread(x).unflatten(1, (frames, -1)).flatten(0, 1)  # (B*T, S, h, w)
        x = self.up(x + coarse.unflatten(0, (b, p))[:, -1].repeat_interleave(frames, 0))
        last = fine.unflatten(0, (b, p))[:, -1].repeat_interleave(frames, 0)
        change = self.leave(self.join(torch.cat([x, last], 1)))  # (B*T, C, H, W)
        made: Tensor = past[:, :, -1:] + change.unflatten(0, (b, frames)).transpose(1, 2).float()
        return made if self.trend is None else made + self.trend(past)

    def predict(self, past: Tensor) -> Tensor:
        made: Tensor = self(past)
        return made


class Block(nn.Module):
    """Attention by a large kernel that gates the features it comes from, and an MLP."""

    def __init__(self, config: Config, left_out: float) -> None:
        super().__init__()
        wide, inner = config.translator_width, round(config.mlp_ratio * config.translator_width)
        self.norm1, self.norm2 = ChannelNorm(wide), ChannelNorm(wide)
        self.enter = nn.Conv2d(wide, wide, 1)
        # 5x5, then 7x7 with gaps: together 23x23 places, at a fraction of the work.
        self.near = nn.Conv2d(wide, wide, 5, padding=2, groups=wide)
        self.far = nn.Conv2d(wide, wide, 7, padding=9, dilation=3, groups=wide)
        self.gate = nn.Conv2d(wide, 2 * wide, 1)
        self.out = nn.Conv2d(wide, wide, 1)
        self.mlp = nn.Sequential(
            nn.Conv2d(wide, inner, 1),
            nn.Conv2d(inner, inner, 3, padding=1, groups=inner),
            nn.GELU(),
            nn.Dropout(config.dropout),
            nn.Conv2d(inner, wide, 1),
        )
        self.depth = StochasticDepth(left_out)
        # Branches start small, so that many of them add up calmly (arXiv:2103.17239).
        self.scale1 = nn.Parameter(torch.full((wide, 1, 1), 0.1))
        self.scale2 = nn.Parameter(torch.full((wide, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, D, h, w) to the same shape."""
        y = F.gelu(self.enter(self.norm1(x)))
        value, gate = self.gate(self.far(self.near(y))).chunk(2, 1)
        x = x + self.depth(self.scale1 * self.out(value * torch.sigmoid(gate)))
        out: Tensor = x + self.depth(self.scale2 * self.mlp(self.norm2(x)))
        return out


def _layer(inputs: int, outputs: int, *, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), ChannelNorm(outputs), nn.SiLU()
    )
