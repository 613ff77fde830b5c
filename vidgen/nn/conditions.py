"""Encoders of what a model is asked to show. They learn together with the model that they serve.

A dropped condition becomes zeros, so that dropping needs no weights of its own.
B batch, L caption bytes, E text width, K text tokens, D width, N tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class TextEncoder(nn.Module):
    """Captions as UTF-8 bytes to a few tokens and one vector. No vocabulary, no download.

    Convolutions gather bytes into words; learned queries then pick the words out, wherever they
    stand (Perceiver, arXiv:2103.03206).

    Args:
        width: E.
        tokens: K, how many words can be picked out.
        out: D.
        kernel: bytes a convolution sees; two of them span a long word.
    """

    def __init__(
        self, *, width: int, tokens: int, out: int, depth: int = 2, kernel: int = 7
    ) -> None:
        super().__init__()
        self.bytes = nn.Embedding(256, width)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, width, kernel, padding=kernel // 2) for _ in range(depth)
        )
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.queries = nn.Parameter(torch.randn(tokens, width) / math.sqrt(width))
        self.key_value = nn.Linear(width, 2 * width)
        self.to_tokens = nn.Linear(width, out)
        self.to_vector = nn.Linear(tokens * width, out)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) int64 bytes, 0 = padding, to tokens (B, K, D) and a vector (B, D).

        A row of zeros, no caption, gives a constant. Padding changes nothing.
        """
        longest = max(1, int((text != 0).sum(dim=1).max()))
        text = text[:, :longest]
        given = (text != 0)[..., None]  # (B, L, 1)
        x = self.bytes(text) * given  # (B, L, E)
        for convolution in self.convolutions:
            y = convolution(F.rms_norm(x, x.shape[-1:]).transpose(1, 2)).transpose(1, 2)
            x = (x + F.gelu(y)) * given
        key, value = self.key_value(self.norm(x)).chunk(2, dim=-1)
        score = self.queries @ F.rms_norm(key, key.shape[-1:]).transpose(1, 2)  # (B, K, L)
        share = score.masked_fill(~given.transpose(1, 2), -1e4).softmax(dim=-1)
        words = F.rms_norm(share @ value, value.shape[-1:])  # (B, K, E)
        words = words * given.any(dim=1, keepdim=True)
        return self.to_tokens(words), self.to_vector(words.flatten(1))


class LabelEmbedding(nn.Module):
    """Class indices to vectors; -1, no label, gives zeros."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, width)

    def forward(self, label: Tensor) -> Tensor:
        """(B,) int64 to (B, D)."""
        vector: Tensor = self.table(label.clamp_min(0))
        return vector * (label >= 0)[:, None]


class TimeEmbedding(nn.Module):
    """A number in [0, 1] per sample, such as the share of signal, to vectors: waves and an MLP."""

    frequencies: Tensor

    def __init__(self, width: int, waves: int = 64) -> None:
        super().__init__()
        # From a hundredth of a turn over the whole range to sixteen turns.
        frequencies = 100.0 * 1000.0 ** (-torch.arange(waves) / waves)
        self.register_buffer("frequencies", frequencies, persistent=False)
        self.mlp = nn.Sequential(nn.Linear(2 * waves, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """(B,) to (B, D)."""
        angle = t[:, None] * self.frequencies
        vector: Tensor = self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))
        return vector
