"""The autoregressive family's VideoModel: tokens one after the other, then the codec's video.

n videos, N = t h w tokens of each, V kinds of tokens.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from vidgen.models.autoregressive.config import Config
from vidgen.models.autoregressive.network import TokenTransformer
from vidgen.models.base import VideoModel, VideoSpec
from vidgen.models.codec import build_codec
from vidgen.nn.attention import KeyValues
from vidgen.types import Condition


class AutoregressiveModel(VideoModel):
    """VideoGPT (arXiv:2104.10157), with finite scalars for tokens."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = (spec.channels, spec.frames, spec.height, spec.width)
        self.codec = build_codec(config.codec, spec, codes=True)
        _, *grid = self.codec.latent_shape()
        self.grid = (grid[0], grid[1], grid[2])
        self.network = TokenTransformer(
            config, spec, codes=self.codec.codes, grid=self.grid, factors=self.codec.factors
        )

    @torch.no_grad()
    def tokens(self, video: Tensor) -> Tensor:
        """(B, C, T, H, W) to (B, N) int64."""
        return self.codec.encode_codes(video).flatten(1)

    @torch.no_grad()
    def sample(
        self,
        cond: Condition,
        n: int,
        *,
        guidance: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """See VideoModel. Guidance moves marks away from those without conditions; it costs as much
        again."""
        self.check(cond)
        cond, network = cond.to(self.device), self.network
        guided = guidance != 1 and any(True for _ in cond.items())
        given = [cond, Condition()] if guided else [cond]
        words = [network.words(n, each) for each in given]
        pictures = [network.pictures(each) for each in given]
        caches = [KeyValues() for _ in given]
        code = torch.zeros(n, dtype=torch.int64, device=self.device)
        found = []
        for place in range(network.tokens):
            marks = [
                network.step(code, place, *each)
                for each in zip(words, pictures, caches, strict=True)
            ]
            mark = marks[0] if not guided else marks[1] + guidance * (marks[0] - marks[1])
            code = self._draw(mark, generator)
            found.append(code)
        return self.codec.decode_codes(torch.stack(found, 1).view(n, *self.grid))

    def _draw(self, marks: Tensor, generator: Generator | None) -> Tensor:
        """(n, V) marks to (n,) tokens."""
        marks = marks / self.config.temperature
        if self.config.top:
            least = marks.topk(min(self.config.top, marks.shape[1])).values[:, -1:]
            marks = marks.masked_fill(marks < least, float("-inf"))
        at = generator.device if generator is not None else marks.device
        drawn = torch.multinomial(marks.softmax(1).to(at), 1, generator=generator)
        return drawn[:, 0].to(marks.device)
