"""The causal transformer of the autoregressive family.

B batch, N = t h w tokens of a video, K text tokens, D width, V kinds of tokens;
F = (a, b, c), the box of pixels that a token stands for.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidgen.models.autoregressive.config import Config
from vidgen.models.base import VideoSpec
from vidgen.nn.attention import Attention, KeyValues, feed_forward
from vidgen.nn.conditioned import Conditioned
from vidgen.nn.conditions import dropped
from vidgen.nn.conv import StochasticDepth, rising
from vidgen.types import Condition


class TokenTransformer(Conditioned):
    """Marks, for every place of a video, which token may stand there given all before it.

    The caption's words and the label stand in front. A place is known by its own embedding, by
    rotation along time, height and width, and by the pictures among the conditions, of which it
    sees its own part.

    Args:
        codes: V.
        grid: (t, h, w).
        factors: F.
    """

    def __init__(
        self,
        config: Config,
        spec: VideoSpec,
        *,
        codes: int,
        grid: tuple[int, int, int],
        factors: tuple[int, int, int],
    ) -> None:
        super().__init__()
        self.grid, width = grid, config.width
        self.tokens = grid[0] * grid[1] * grid[2]
        # The row after the last code stands before the first token, where there is none yet.
        self.embed = nn.Embedding(codes + 1, width)
        self.place = nn.Parameter(0.5 * torch.randn(self.tokens, width))
        self.add_encoders(config, channels=spec.channels, classes=spec.classes, box=factors)
        self.blocks = nn.ModuleList(
            Block(config, share) for share in rising(config.stochastic_depth, config.depth)
        )
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.out = nn.Linear(width, codes)
        nn.init.normal_(self.out.weight, std=0.02)
        nn.init.zeros_(self.out.bias)
        words = (config.text_tokens + 1 if self.text is not None else 0) + (self.label is not None)
        self.add_rotation(grid, width // config.heads, words=words)

    def forward(
        self, codes: Tensor, cond: Condition, keep: dict[str, Tensor] | None = None
    ) -> Tensor:
        """(B, N) tokens to what each place was marked given those before it, (B, N, V).

        Args:
            keep: by condition, (B,) bool; False drops the field of that sample.
        """
        start = torch.full_like(codes[:, :1], self.embed.num_embeddings - 1)
        words = self.words(len(codes), cond, keep)
        x = self.embed(torch.cat([start, codes[:, :-1]], 1)) + self.place
        x = torch.cat([words, x + self.pictures(cond, keep)], 1)  # (B, K+N, D)
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
        marks: Tensor = self.out(self.norm(x[:, words.shape[1] :]))
        return marks.float()

    def step(
        self, code: Tensor, n: int, words: Tensor, pictures: Tensor, cache: KeyValues
    ) -> Tensor:
        """Marks of place n, (B, V), after all places before it went through the same cache.

        Args:
            code: (B,) tokens of place n - 1; anything at n = 0.
            words, pictures: of these conditions.
        """
        if n == 0:
            code = torch.full_like(code, self.embed.num_embeddings - 1)
        x = (self.embed(code) + self.place[n])[:, None]  # (B, 1, D)
        x = x + (pictures[:, n : n + 1] if pictures.shape[1] > 1 else pictures)
        first, last = words.shape[1] + n, words.shape[1] + n + 1
        if n == 0:
            x, first = torch.cat([words, x], 1), 0
        for block in self.blocks:
            x = block(x, self.cos[first:last], self.sin[first:last], cache)
        marks: Tensor = self.out(self.norm(x[:, -1]))
        return marks.float()

    def words(self, n: int, cond: Condition, keep: dict[str, Tensor] | None = None) -> Tensor:
        """What stands before the video, (B, K', D): words, the caption as a whole, the label."""
        cond, device = dropped(cond, keep or {}), self.place.device
        found = [torch.zeros(n, 0, self.place.shape[1], device=device)]
        if self.text is not None:
            words, sentence = self.caption(cond, n, device)  # (B, K, D), (B, D)
            found += [words, sentence[:, None]]
        if self.label is not None:
            label = cond.label
            if label is None:
                label = torch.full((n,), -1, device=device)
            found.append(self.label(label)[:, None])
        return torch.cat(found, 1)

    def pictures(self, cond: Condition, keep: dict[str, Tensor] | None = None) -> Tensor:
        """What the pictures among the conditions add to each place, (B, N, D), or (1, 1, D)."""
        none = self.place.new_zeros(1, 1, self.place.shape[1])
        return none + self.pictured(cond, keep or {}, self.grid[0])


class Block(nn.Module):
    """Causal attention and MLP, normed before (arXiv:2002.04745)."""

    def __init__(self, config: Config, left_out: float) -> None:
        super().__init__()
        width, inner = config.width, round(config.mlp_ratio * config.width)
        self.norm1, self.norm2 = nn.RMSNorm(width, eps=1e-6), nn.RMSNorm(width, eps=1e-6)
        self.attention = Attention(width, config.heads)
        self.mlp = feed_forward(width, inner, config.dropout)
        self.depth = StochasticDepth(left_out)
        # Branches start small, so that many of them add up calmly.
        nn.init.normal_(self.attention.out.weight, std=0.02)
        nn.init.normal_(self.mlp[-1].weight, std=0.02)  # type: ignore[arg-type]

    def forward(
        self, x: Tensor, cos: Tensor, sin: Tensor, cache: KeyValues | None = None
    ) -> Tensor:
        """(B, N, D) to (B, N, D)."""
        seen = self.attention(self.norm1(x), cos, sin, causal=True, cache=cache)
        x = x + self.depth(seen)
        out: Tensor = x + self.depth(self.mlp(self.norm2(x)))
        return out
