"""The transformer of the flow family: noisy video and its noise level in, estimate out.

B batch, C channels, T frames, H height, W width, P past frames, D token width;
N = (T/a)(H/b)(W/c) tokens of patches (a, b, c), S = (H/b)(W/c) of them at one time, K text tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.models.base import VideoSpec
from vidgen.models.flow.config import Config
from vidgen.nn.attention import Attention, feed_forward
from vidgen.nn.conditioned import Conditioned
from vidgen.nn.conditions import TimeEmbedding, dropped
from vidgen.nn.conv import StochasticDepth, rising
from vidgen.nn.patches import grid_of, patchify, unpatchify
from vidgen.types import Condition


class FlowTransformer(Conditioned):
    """DiT (arXiv:2212.09748) over patches in space and time.

    What holds for the whole clip (noise level, caption, label) scales and shifts every block; the
    caption's words stand in front of the tokens; pictures are added to tokens where they belong.

    Args:
        shape: (C, T, H, W) of what it sees through noise: a video, or the latent of one.
        factors: by how much smaller than the video that is in time, height and width.
    """

    def __init__(
        self,
        config: Config,
        spec: VideoSpec,
        shape: tuple[int, int, int, int],
        factors: tuple[int, int, int] = (1, 1, 1),
    ) -> None:
        super().__init__()
        self.patch = config.patch
        grid = self.grid = grid_of(shape[1:], config.patch)
        width, places = config.width, shape[0] * math.prod(config.patch)
        a, b, c = (part * factor for part, factor in zip(config.patch, factors, strict=True))

        self.embed = nn.Linear(places, width)
        # Places louder than patches of noise, or a token would hardly know where it is.
        nn.init.normal_(self.embed.weight, std=0.2 / math.sqrt(3 * places))
        self.position = nn.Parameter(0.5 * torch.randn(math.prod(grid), width))
        self.time = TimeEmbedding(width)
        self.add_encoders(config, channels=spec.channels, classes=spec.classes, box=(a, b, c))
        self.blocks = nn.ModuleList(
            Block(config, share) for share in rising(config.stochastic_depth, config.depth)
        )
        self.modulation = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, places)

        self.words = config.text_tokens if self.text is not None else 0
        self.add_rotation(grid, width // config.heads, words=self.words)

        # Every block starts as the identity and the estimate at zero: training starts calmly.
        layers = [self.modulation, self.out]
        layers += [m.modulation for m in self.blocks if isinstance(m, Block)]
        for layer in layers:
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, video: Tensor, t: Tensor, cond: Condition, keep: dict[str, Tensor] | None = None
    ) -> Tensor:
        """Estimate from noisy video, or from noisy latents of one.

        Args:
            video: (B, C, T, H, W), as large as the network's shape or smaller.
            t: (B,) in [0, 1], the share of signal in it.
            cond: fields that are absent count as dropped.
            keep: by field name, (B,) bool; False drops the field of that sample.

        Returns:
            (B, C, T, H, W).
        """
        cond = dropped(cond, keep or {})
        grid, position, cos, sin = self._places(video)
        x = self.embed(patchify(video, self.patch)) + position  # (B, N, D)
        x = x + self.pictured(cond, keep or {}, grid[0])
        c = _even(self.time(t))  # (B, D)
        words = x[:, :0]
        if self.text is not None:
            words, sentence = self.caption(cond, len(t), t.device)  # (B, K, D), (B, D)
            c = c + _even(sentence)
        if self.label is not None and cond.label is not None:
            c = c + _even(self.label(cond.label))
        c = F.silu(c)

        x = torch.cat([words, x], dim=1)  # (B, K+N, D)
        for block in self.blocks:
            x = block(x, c, cos, sin)
        x = x[:, words.shape[1] :]  # (B, N, D)
        scale, shift = modulation(self.modulation, c, 2)
        x = self.out(F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift)  # (B, N, C*a*b*c)
        channels, *sizes = video.shape[1:]
        return unpatchify(x, (channels, sizes[0], sizes[1], sizes[2]), self.patch).float()

    def _places(self, video: Tensor) -> tuple[tuple[int, int, int], Tensor, Tensor, Tensor]:
        """Token grid of a video; its places, (N, D), and their rotations, (K+N, D/H/2).

        A smaller picture shows the same scene, so places are spread over it; a shorter video is the
        beginning of a longer one.
        """
        grid = grid_of(video.shape[2:], self.patch)
        if grid == self.grid:
            return grid, self.position, self.cos, self.sin
        cos, sin = (_spread(table[self.words :], self.grid, grid) for table in (self.cos, self.sin))
        length = (cos.square() + sin.square()).sqrt()
        still = (self.words, 0)
        return (
            grid,
            _spread(self.position, self.grid, grid),
            F.pad(cos / length, (0, 0, *still), value=1.0),
            F.pad(sin / length, (0, 0, *still)),
        )


class Block(nn.Module):
    """Attention and MLP; the clip's vector gives scale, shift and gate of both (adaLN-zero)."""

    def __init__(self, config: Config, left_out: float) -> None:
        super().__init__()
        width, inner = config.width, round(config.mlp_ratio * config.width)
        self.modulation = nn.Linear(width, 6 * width)
        self.attention = Attention(width, config.heads)
        self.mlp = feed_forward(width, inner, config.dropout)
        self.depth = StochasticDepth(left_out)

    def forward(self, x: Tensor, c: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """(B, K+N, D) to (B, K+N, D), given the clip's vector c, (B, D)."""
        scale1, shift1, gate1, scale2, shift2, gate2 = modulation(self.modulation, c, 6)
        y = F.layer_norm(x, x.shape[-1:]) * (1 + scale1) + shift1
        x = x + self.depth(gate1 * self.attention(y, cos, sin))
        y = F.layer_norm(x, x.shape[-1:]) * (1 + scale2) + shift2
        out: Tensor = x + self.depth(gate2 * self.mlp(y))
        return out


def modulation(layer: nn.Linear, c: Tensor, parts: int) -> tuple[Tensor, ...]:
    """`parts` tensors (B, 1, D) from the clip's vector, in fp32 whatever autocast says."""
    with torch.autocast(c.device.type, enabled=False):
        return F.linear(c.float(), layer.weight, layer.bias)[:, None].chunk(parts, dim=-1)


def _spread(table: Tensor, whole: tuple[int, int, int], grid: tuple[int, int, int]) -> Tensor:
    """Rows of a (t, h, w) grid, (N, K), for a smaller grid: the first times, pictures resized."""
    rows = table.view(*whole, -1)[: grid[0]].permute(0, 3, 1, 2)  # (t, K, h, w)
    rows = F.interpolate(rows, size=grid[1:], mode="bilinear", antialias=False)
    return rows.permute(0, 2, 3, 1).reshape(math.prod(grid), -1)


def _even(x: Tensor) -> Tensor:
    """Vectors of one length, so that noise level, caption and label speak equally loud at first."""
    return F.rms_norm(x, x.shape[-1:])
