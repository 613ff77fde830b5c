"""Encoders of what a model is asked to show. They learn together with the model that they serve.

A dropped condition becomes zeros, so that dropping needs no weights of its own.
B batch, L caption bytes, E byte width, F text features, K text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidgen.types import Condition


class TextEncoder(nn.Module):
    """Captions as UTF-8 bytes to a few tokens and one vector. No vocabulary, no download.

    A convolution sees the bytes of a word at a time and the strongest answer over the caption
    counts, wherever it is given (character CNN, arXiv:1508.06615). A word's trace is as strong in a
    long caption as in a short one; averages over bytes drown it and slow learning many times.

    Args:
        width: E.
        tokens: K, how many tokens the caption becomes.
        out: D.
        features: patterns looked for.
        kernel: bytes of a pattern.
    """

    def __init__(
        self, *, width: int, tokens: int, out: int, features: int = 256, kernel: int = 7
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.bytes = nn.Embedding(256, width)
        self.patterns = nn.Conv1d(width, features, kernel, padding=kernel // 2)
        self.context = nn.Conv1d(features, features, 3, padding=1)
        self.to_tokens = nn.Linear(features, tokens * out)
        self.to_vector = nn.Linear(features, out)

    def forward(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """(B, L) int64 bytes, 0 = padding, to tokens (B, K, D) and a vector (B, D).

        A row of zeros, no caption, gives a constant. Padding changes nothing.
        """
        if len(text) > 1 and not torch.is_grad_enabled():
            # Many videos of a caption, as rollouts are: it is read once.
            rows, places = torch.unique(text, dim=0, return_inverse=True)
            if len(rows) < len(text):
                tokens, vector = self(rows)
                return tokens[places], vector[places]
        longest = max(1, int((text != 0).sum(dim=1).max()))
        text = text[:, :longest]
        given = (text != 0)[:, None]  # (B, 1, L)
        x = self.bytes(text).transpose(1, 2) * given  # (B, E, L)
        x = F.gelu(self.patterns(x)) * given  # (B, F, L)
        x = x + F.gelu(self.context(x))
        x = x.float().masked_fill(~given, -1e4).amax(dim=2)  # (B, F)
        x = F.layer_norm(x, x.shape[-1:]) * given.any(dim=2)
        return self.to_tokens(x).unflatten(1, (self.tokens, -1)), self.to_vector(x)


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


def dropped(cond: Condition, keep: dict[str, Tensor]) -> Condition:
    """Dropped texts and labels, written as absent ones; pictures are dropped once encoded."""
    text, label = cond.text, cond.label
    if text is not None and "text" in keep:
        text = text * keep["text"][:, None]
    if label is not None and "label" in keep:
        label = torch.where(keep["label"], label, -1)
    return Condition(text=text, label=label, image=cond.image, sketch=cond.sketch, past=cond.past)


def kept(x: Tensor, keep: Tensor | None) -> Tensor:
    """(B, N, D) tokens of a picture; zeros where it is dropped."""
    return x if keep is None else x * keep[:, None, None]


def draw_kept(
    seeds: Tensor, names: Sequence[str], dropout: float, device: torch.device
) -> dict[str, Tensor]:
    """Which conditions training shows, by name, (B,) bool: all of them are hidden with the chance
    `dropout`, and each alone if there are several. Each sample's from its own seed."""
    rows = [
        torch.rand(1 + len(names), generator=torch.Generator().manual_seed(seed))
        for seed in seeds.tolist()
    ]
    return shown(torch.stack(rows), names, dropout, device)


def shown(
    u: Tensor, names: Sequence[str], dropout: float, device: torch.device
) -> dict[str, Tensor]:
    """The same, from numbers in [0, 1) already drawn, (B, 1 + conditions)."""
    any_shown = u[:, 0] >= dropout
    # With one condition, hiding all of them and hiding it is the same thing.
    alone = dropout if len(names) > 1 else 0.0
    return {n: (any_shown & (u[:, 1 + i] >= alone)).to(device) for i, n in enumerate(names)}
