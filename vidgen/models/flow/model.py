"""The flow family's VideoModel: the transformer and the way to sample from it.

B batch, n videos, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from vidgen.models.base import VideoModel, VideoSpec
from vidgen.models.codec import Codec, KnownLatents, build_codec
from vidgen.models.flow import policy
from vidgen.models.flow.config import Config
from vidgen.models.flow.network import FlowTransformer
from vidgen.models.flow.sampler import SAMPLERS, times
from vidgen.models.learnable import Path
from vidgen.types import Condition


class FlowModel(VideoModel):
    """Noise at t = 0, video at t = 1, a straight line between (arXiv:2209.03003, 2210.02747).

    With a codec, "video" is the codec's latent of it (arXiv:2112.10752).
    """

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = spec.shape
        self.codec: Codec | None = None
        self.known = KnownLatents()
        self.shape, factors = self.video_shape, (1, 1, 1)  # of what is seen through noise
        if config.codec is not None:
            self.codec = build_codec(config.codec, spec)
            self.shape, factors = self.codec.latent_shape(), self.codec.factors
        self.network = FlowTransformer(config, spec, self.shape, factors)

    def estimate(
        self, noisy: Tensor, t: Tensor, cond: Condition, keep: dict[str, Tensor] | None = None
    ) -> Tensor:
        """The video (B, C, T, H, W) that the network sees in noisy = t video + (1 - t) noise.

        Args as in `FlowTransformer.forward`.
        """
        out: Tensor = self.network(noisy, t, cond, keep)
        if self.config.predict == "velocity":
            out = noisy + (1 - t)[:, None, None, None, None] * out
        return out

    def guided(self, noisy: Tensor, t: float, cond: Condition, guidance: float) -> Tensor:
        """`estimate` at one t for all. Guidance moves away from what the model sees without
        conditions (arXiv:2207.12598); it costs a second network call."""
        level = torch.full((len(noisy),), t, device=noisy.device)
        seen = self.estimate(noisy, level, cond)
        if guidance == 1 or not cond.given:
            return seen
        free = self.estimate(noisy, level, Condition())
        return free + guidance * (seen - free)

    def draw(self, cond: Condition, n: int, guidance: float, generator: Generator | None) -> Tensor:
        """See VideoModel."""
        noise = self.noise(n, *self.shape, generator=generator)
        stops = times(self.config.sample_steps, self.config.shift)
        return self.shown(self._follow(noise, stops, cond, guidance))

    @torch.no_grad()
    def edit(
        self,
        video: Tensor,
        cond: Condition,
        *,
        strength: float,
        guidance: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """See VideoModel. Noise hides a part of the video, and the model sees through it
        (SDEdit, arXiv:2108.01073); strength is the share of the steps that are done anew."""
        self.check(cond)
        steps = self.config.sample_steps
        stops = times(steps, self.config.shift)[steps - round(strength * steps) :]
        seen = self.seen(video.to(self.device))
        noise = self.noise(len(video), *self.shape, generator=generator)
        noisy = stops[0] * seen + (1 - stops[0]) * noise
        return self.shown(self._follow(noisy, stops, cond.to(self.device), guidance))

    @torch.no_grad()
    def seen(self, video: Tensor) -> Tensor:
        """What the network sees of a video, (B, *shape): the video itself or its latent."""
        return video if self.codec is None else self.known.encode(self.codec, video)

    def shown(self, seen: Tensor) -> Tensor:
        """The video, (B, C, T, H, W) in [-1, 1], of what the network deals with."""
        return seen.clamp(-1, 1) if self.codec is None else self.codec.decode(seen)

    def _follow(
        self, noisy: Tensor, stops: list[float], cond: Condition, guidance: float
    ) -> Tensor:
        """From the first of the stops to video at the last."""

        def velocity(video: Tensor, t: float) -> Tensor:
            seen = self.guided(video, t, cond, guidance)
            if self.codec is None:
                # Guidance overshoots; colours past black and white would come out wrong.
                seen = seen.clamp(-1, 1)
            return (seen - video) / (1 - t)

        return SAMPLERS[self.config.sampler](velocity, noisy, stops)

    def rollout(
        self, cond: Condition, n: int, *, guidance: float, noise: float, generator: Generator
    ) -> Path:
        """See Policy."""
        return policy.rollout(self, cond, n, guidance=guidance, noise=noise, generator=generator)

    def log_probs(
        self, path: Path, cond: Condition, chosen: Tensor, *, guidance: float, noise: float
    ) -> Tensor:
        """See Policy."""
        return policy.log_probs(self, path, cond, chosen, guidance=guidance, noise=noise)
