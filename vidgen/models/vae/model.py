"""The vae family's VideoModel: a codec, with numbers or with tokens as latents.

B batch, n videos, C channels, T frames, H height, W width; Z latent channels, t, h and w the
latent's size.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor, nn

from vidgen.errors import ModelError
from vidgen.models.base import VideoSpec
from vidgen.models.codec import Codec
from vidgen.models.vae.config import Config
from vidgen.models.vae.network import Decoder, Encoder
from vidgen.nn.causal import Cache
from vidgen.nn.quantise import FiniteScalars
from vidgen.types import Condition


class VaeModel(Codec):
    """Auto-encoding variational Bayes (arXiv:1312.6114) on video; with `levels`, FSQ
    (arXiv:2309.15505)."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset()
        self.video_shape = spec.shape
        self.quantise = FiniteScalars(config.levels) if config.levels else None
        self.latent_channels = len(config.levels) or config.latent_channels
        self.codes = self.quantise.size if self.quantise is not None else 0
        out = self.latent_channels * (1 if self.quantise is not None else 2)
        self.encoder = Encoder(config, spec.channels, self.latent_channels, out)
        if self.quantise is None:  # little noise at first, or the decoder learns to look away
            nn.init.constant_(self.encoder.leave.conv.bias[self.latent_channels :], -9.0)  # type: ignore[index]
        self.decoder = Decoder(config, spec.channels, self.latent_channels)
        self.register_buffer("mean", torch.zeros(self.latent_channels))
        self.register_buffer("std", torch.ones(self.latent_channels))

    @property
    def factors(self) -> tuple[int, int, int]:
        return self.config.factors

    def look(self, video: Tensor, cache: Cache | None = None) -> tuple[Tensor, Tensor]:
        """Mean and logarithm of the variance of the latents, (B, Z, t, h, w) each, in fp32; with
        tokens, what is still to be rounded, and zeros."""
        found, copy = (each.float() for each in self.encoder(video, cache))
        if self.quantise is not None:
            return found + self.quantise.aim(copy), torch.zeros_like(found)
        mean, spread = found.chunk(2, 1)
        return mean + copy, spread.clamp(-20, 10)

    def pack(self, video: Tensor, *, chunk: int = 0) -> Tensor:
        self._check_size(video)
        cache: Cache = {}
        pieces = torch.split(video, self._checked(chunk) or video.shape[2], 2)
        latents = torch.cat([self.look(piece, cache)[0] for piece in pieces], 2)
        return latents if self.quantise is None else self.quantise(latents)

    def unpack(self, latents: Tensor, *, chunk: int = 0) -> Tensor:
        cache: Cache = {}
        steps = self._checked(chunk) // self.factors[0] or latents.shape[2]
        pieces = torch.split(latents, steps, 2)
        return torch.cat([self.decoder(piece, cache) for piece in pieces], 2)

    def encode_codes(self, video: Tensor) -> Tensor:
        if self.quantise is None:
            return super().encode_codes(video)
        self._check_size(video)
        return self.quantise.codes(self.look(video)[0])

    def decode_codes(self, codes: Tensor) -> Tensor:
        if self.quantise is None:
            return super().decode_codes(codes)
        return self.unpack(self.quantise.levels(codes)).clamp(-1, 1)

    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        """See VideoModel. Decodes latents drawn place by place from their normal distribution, or
        tokens drawn evenly: what the decoder makes of anything, not scenes."""
        z, *size = self.latent_shape()
        if not self.codes:
            return self.decode(self.noise(n, z, *size, generator=generator))
        at = generator.device if generator is not None else self.device
        codes = torch.randint(self.codes, (n, *size), generator=generator, device=at)
        return self.decode_codes(codes.to(self.device))

    def _checked(self, chunk: int) -> int:
        """Raises ModelError if the codec's boxes do not fit into so many frames."""
        if chunk % self.factors[0]:
            raise ModelError(
                f"cannot work on {chunk} frames at a time",
                expected=f"a multiple of {self.factors[0]}",
            )
        return chunk

    def _check_size(self, video: Tensor) -> None:
        for name, size, part in zip(
            ("frames", "rows", "columns"), video.shape[2:], self.factors, strict=True
        ):
            if size % part:
                raise ModelError(
                    f"the codec cannot take a video of {size} {name}",
                    expected=f"a multiple of {part}",
                )
