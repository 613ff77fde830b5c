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
from vidgen.models.learnable import Path
from vidgen.nn.attention import KeyValues
from vidgen.types import Condition


class AutoregressiveModel(VideoModel):
    """VideoGPT (arXiv:2104.10157), with finite scalars for tokens."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = spec.shape
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

    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        """See VideoModel. Guidance moves marks away from those without conditions; it costs as much
        again."""
        return self.shown(self._write(cond, n, guidance, generator, self.config.top))

    @torch.no_grad()
    def rollout(
        self, cond: Condition, n: int, *, guidance: float, noise: float, generator: Generator
    ) -> Path:
        """See Policy. States are the tokens, (n, N), of all that the temperature allows; noise
        changes nothing."""
        self.check(cond)
        codes = self._write(cond.to(self.device), n, guidance, generator, top=0)
        return Path(
            video=self.shown(codes), states=codes, decisions=self.network.tokens, together=True
        )

    def log_probs(
        self, path: Path, cond: Condition, chosen: Tensor, *, guidance: float, noise: float
    ) -> Tensor:
        """See Policy."""
        cond, codes = cond.to(self.device), path.states
        marks = self.network(codes, cond)  # (B, N, V)
        if _guided(cond, guidance):
            free = self.network(codes, Condition())
            marks = free + guidance * (marks - free)
        every = (marks / self.config.temperature).log_softmax(2)
        found: Tensor = every.gather(2, codes[:, :, None])
        return found[:, chosen.to(found.device), 0]

    def shown(self, codes: Tensor) -> Tensor:
        """(n, N) tokens to their videos."""
        video: Tensor = self.codec.decode_codes(codes.view(len(codes), *self.grid))
        return video

    def _write(
        self,
        cond: Condition,
        n: int,
        guidance: float,
        generator: Generator | None,
        top: int,
    ) -> Tensor:
        """(n, N) tokens, one after the other."""
        network = self.network
        given = [cond, Condition()] if _guided(cond, guidance) else [cond]
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
            mark = marks[0] if len(marks) == 1 else marks[1] + guidance * (marks[0] - marks[1])
            code = self._draw(mark, generator, top)
            found.append(code)
        return torch.stack(found, 1)

    def _draw(self, marks: Tensor, generator: Generator | None, top: int) -> Tensor:
        """(n, V) marks to (n,) tokens."""
        marks = marks / self.config.temperature
        if top:
            least = marks.topk(min(top, marks.shape[1])).values[:, -1:]
            marks = marks.masked_fill(marks < least, float("-inf"))
        at = generator.device if generator is not None else marks.device
        drawn = torch.multinomial(marks.softmax(1).to(at), 1, generator=generator)
        return drawn[:, 0].to(marks.device)


def _guided(cond: Condition, guidance: float) -> bool:
    return guidance != 1 and bool(cond.given)
