"""What a family that works on latents needs of the one that makes them.

B batch, C channels, T frames, H height, W width; Z latent channels, t, h and w the latent's size.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable
from importlib import import_module
from typing import ClassVar

import torch
from torch import Generator, Tensor

from vidgen.config.codec import CodecConfig
from vidgen.config.families import package_of
from vidgen.errors import ModelError
from vidgen.models.base import VideoModel, VideoSpec
from vidgen.types import Batch, to_uint8


class Codec(VideoModel):
    """A model that packs video into fewer numbers and back.

    Attributes:
        latent_channels: Z.
        codes: how many tokens there are, for a codec whose latents can be counted; else 0.
        mean, std: of each latent channel over training data, (Z,); latents leave it normalised.
    """

    calibration_clips: ClassVar = 128
    latent_channels: int
    codes: int = 0
    mean: Tensor
    std: Tensor

    @property
    @abstractmethod
    def factors(self) -> tuple[int, int, int]:
        """T/t, H/h and W/w."""

    @abstractmethod
    def pack(self, video: Tensor, *, chunk: int = 0) -> Tensor:
        """(B, C, T, H, W) to latents as they are, (B, Z, t, h, w).

        Args:
            chunk: frames worked on at a time, which bounds memory; 0: all. No difference in the
                outcome.
        """

    @abstractmethod
    def unpack(self, latents: Tensor, *, chunk: int = 0) -> Tensor:
        """The way back; `chunk` counts frames of the video."""

    def encode(self, video: Tensor, *, chunk: int = 0) -> Tensor:
        """(B, C, T, H, W) to normalised latents, (B, Z, t, h, w)."""
        return (self.pack(video, chunk=chunk) - _wide(self.mean)) / _wide(self.std)

    def decode(self, latents: Tensor, *, chunk: int = 0) -> Tensor:
        """Normalised latents to a video in [-1, 1]."""
        return self.unpack(latents * _wide(self.std) + _wide(self.mean), chunk=chunk).clamp(-1, 1)

    def encode_codes(self, video: Tensor) -> Tensor:
        """(B, C, T, H, W) to tokens, (B, t, h, w) int64."""
        raise ModelError("this codec has no tokens", fix="Train one with model.levels.")

    def decode_codes(self, codes: Tensor) -> Tensor:
        """The way back."""
        raise ModelError("this codec has no tokens", fix="Train one with model.levels.")

    def latent_shape(self) -> tuple[int, int, int, int]:
        """(Z, t, h, w) of the videos it is built for."""
        (a, b, c), (_, frames, height, width) = self.factors, self.video_shape
        return self.latent_channels, frames // a, height // b, width // c

    def beside(
        self, batch: Batch, *, guidance: float = 1.0, generator: Generator | None = None
    ) -> Tensor:
        """The real videos, packed and unpacked."""
        with torch.no_grad():
            return self.decode(self.encode(batch.video))

    @torch.no_grad()
    def calibrate(self, batches: Iterable[Batch]) -> None:
        """Set `mean` and `std` from training data."""
        total, square, count = torch.zeros_like(self.mean), torch.zeros_like(self.std), 0
        total, square = total.double(), square.double()
        for batch in batches:
            latents = self.pack(batch.video.to(self.device)).double()
            total += latents.sum((0, 2, 3, 4))
            square += latents.square().sum((0, 2, 3, 4))
            count += latents[:, 0].numel()
        mean = total / max(1, count)
        self.mean.copy_(mean)
        self.std.copy_((square / max(1, count) - mean.square()).clamp_min(1e-8).sqrt())


class KnownLatents:
    """Latents of videos that were encoded once and for all, found by what the videos show."""

    def __init__(self) -> None:
        self._known: dict[bytes, Tensor] = {}

    def update(self, known: dict[bytes, Tensor]) -> None:
        """Know these too, by content key."""
        self._known.update(known)

    def encode(self, codec: Codec, video: Tensor) -> Tensor:
        """As `codec.encode`, with what is known looked up."""
        if not self._known:
            return codec.encode(video)
        found = [self._known.get(key) for key in content_keys(video)]
        missing = [row for row, latent in enumerate(found) if latent is None]
        if missing:
            for row, latent in zip(missing, codec.encode(video[missing]), strict=True):
                found[row] = latent
        return torch.stack(
            [each.to(video.device, torch.float32) for each in found if each is not None]
        )


def content_keys(video: Tensor) -> list[bytes]:
    """What each of (B, C, T, H, W) videos in [-1, 1] shows, in 32 bytes."""
    pixels = to_uint8(video).cpu().contiguous()
    size = str(tuple(video.shape[1:])).encode()
    return [hashlib.sha256(size + row.numpy().tobytes()).digest() for row in pixels]


def build_codec(config: CodecConfig | None, spec: VideoSpec, *, codes: bool = False) -> Codec:
    """The frozen codec of a model on latents, its weights still to be loaded.

    Raises ModelError if it is not what is asked for.
    """
    if config is None or config.model is None:
        raise ModelError(
            "the model works on latents, and its codec is not known",
            fix="Set model.codec.run to the run folder of a trained VAE.",
        )
    family = import_module(f"{package_of(config.model.family)}.objective")
    codec = family.build(config.model, spec).model
    if not isinstance(codec, Codec):
        raise ModelError(
            f"model.codec.run {config.run} is a run of family '{config.model.family}'",
            expected="one that packs videos, like 'vae'",
        )
    if codes and not codec.codes:
        raise ModelError(
            f"the codec of {config.run} has no tokens",
            fix="Train one with model.levels, like recipe shapes-vae-tokens.",
        )
    return codec.requires_grad_(False).eval()


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]
