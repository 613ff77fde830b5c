"""The flow family's VideoModel: the transformer and the way to sample from it.

B batch, n videos, C channels, T frames, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from vidgen.models.base import VideoModel, VideoSpec
from vidgen.models.flow.config import Config
from vidgen.models.flow.network import FlowTransformer
from vidgen.models.flow.sampler import SAMPLERS, times
from vidgen.types import Condition


class FlowModel(VideoModel):
    """Noise at t = 0, video at t = 1, a straight line between (arXiv:2209.03003, 2210.02747)."""

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.conditions = frozenset(config.conditions)
        self.video_shape = (spec.channels, spec.frames, spec.height, spec.width)
        self.network = FlowTransformer(config, spec)

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

    @torch.no_grad()
    def sample(
        self,
        cond: Condition,
        n: int,
        *,
        guidance: float = 1.0,
        generator: Generator | None = None,
    ) -> Tensor:
        """See VideoModel. Guidance moves away from what the model shows without conditions
        (arXiv:2207.12598); it costs a second network call."""
        self.check(cond)
        device = self.network.position.device
        cond = cond.to(device)
        drawn_on = generator.device if generator is not None else device
        noise = torch.randn(n, *self.video_shape, generator=generator, device=drawn_on)
        guided = guidance != 1 and any(True for _ in cond.items())

        def velocity(video: Tensor, t: float) -> Tensor:
            level = torch.full((n,), t, device=device)
            seen = self.estimate(video, level, cond)
            if guided:
                free = self.estimate(video, level, Condition())
                seen = free + guidance * (seen - free)
            # Guidance overshoots; colours past black and white would come out wrong.
            return (seen.clamp(-1, 1) - video) / (1 - t)

        stops = times(self.config.sample_steps, self.config.shift)
        video = SAMPLERS[self.config.sampler](velocity, noise.to(device), stops)
        return video.clamp(-1, 1)
