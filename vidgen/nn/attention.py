"""Attention over the tokens of a video, with positions in three dimensions.

B batch, N tokens, D width, H heads, K width of a head; (t, h, w) is a place in the token grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_BASE = 100.0  # longest wavelength of the rotation; token grids have tens of places, not thousands


def rope_angles(grid: tuple[int, int, int], head_width: int) -> Tensor:
    """Rotation angles of every place of a (t, h, w) grid, (N, K/2).

    The K/2 pairs of channels are dealt out to the three axes, so that the dot product of two tokens
    knows how far apart they are along each (RoFormer, arXiv:2104.09864, in 3D).
    """
    pairs = head_width // 2
    time = pairs // 3
    per_axis = (time, (pairs - time) // 2, (pairs - time + 1) // 2)
    places = torch.meshgrid(*(torch.arange(n) for n in grid), indexing="ij")
    angles = [
        place.reshape(-1, 1) * _BASE ** (-torch.arange(count) / max(1, count))  # (N, count)
        for place, count in zip(places, per_axis, strict=True)
    ]
    return torch.cat(angles, dim=1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel pairs of (..., N, K) by angles given as cos and sin, (N, K/2)."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)


def feed_forward(width: int, inner: int, dropout: float) -> nn.Sequential:
    """The part of a block that looks at one token at a time, (B, N, D) to (B, N, D)."""
    return nn.Sequential(
        nn.Linear(width, inner),
        nn.GELU(approximate="tanh"),
        nn.Dropout(dropout),
        nn.Linear(inner, width),
    )


class KeyValues:
    """Keys and values of the tokens that went through each attention so far."""

    def __init__(self) -> None:
        self._held: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def add(self, layer: nn.Module, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """All of a layer's, (B, H, N, K) each, with these new ones at the end."""
        if layer in self._held:
            old_keys, old_values = self._held[layer]
            keys = torch.cat([old_keys, keys], 2)
            values = torch.cat([old_values, values], 2)
        self._held[layer] = keys, values
        return keys, values


class Attention(nn.Module):
    """Self-attention with RMS-normalised queries and keys (arXiv:2302.05442), for stable training.

    Args:
        width: D, a multiple of `heads`, D / heads even.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.query_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.key_norm = nn.RMSNorm(width // heads, eps=1e-6)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        cos: Tensor,
        sin: Tensor,
        *,
        causal: bool = False,
        cache: KeyValues | None = None,
    ) -> Tensor:
        """(B, N, D) to (B, N, D); cos and sin are (N, K/2), of no rotation for text tokens.

        Args:
            causal: no token sees a later one.
            cache: the tokens that came before, which these see too, and to which they are added.
        """
        b, n, d = x.shape
        qkv = self.qkv(x).view(b, n, 3, self.heads, d // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, N, K)
        q = rotate(self.query_norm(q.float()), cos, sin).to(v.dtype)
        k = rotate(self.key_norm(k.float()), cos, sin).to(v.dtype)
        if cache is not None:
            k, v = cache.add(self, k, v)
        whole = k.shape[2] == n  # a single new token may see all that is there
        assert whole or n == 1 or not causal
        x = F.scaled_dot_product_attention(q, k, v, is_causal=causal and whole)
        out: Tensor = self.out(x.transpose(1, 2).reshape(b, n, d))  # (B, N, D)
        return out
