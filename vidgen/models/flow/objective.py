"""The flow family's Objective: see the video, or its velocity, through noise.

B batch, C channels, T frames, H height, W width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from vidgen.config.base import FamilyConfig
from vidgen.models.base import Objective, VideoSpec
from vidgen.models.flow.config import Config
from vidgen.models.flow.model import FlowModel
from vidgen.models.flow.sampler import shifted
from vidgen.models.learnable import Noised
from vidgen.nn.conditions import shown
from vidgen.types import Batch, Losses

_VALIDATION_TIMES = 10


def build(config: FamilyConfig, spec: VideoSpec) -> FlowObjective:
    """The untrained objective for videos of `spec`."""
    return FlowObjective(cast(Config, config), spec)


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What chance decides about a batch.

    Attributes:
        t: (B,), the share of signal.
        noise: (B, C, T, H, W), normal, like the video or its latent.
        keep: by condition, (B,) bool; False hides it.
    """

    t: Tensor
    noise: Tensor
    keep: dict[str, Tensor]


class FlowObjective(Objective):
    """Mean squared error of the velocity, video - noise, from which sampling is made."""

    model: FlowModel

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__()
        self.config = config
        self.model = FlowModel(config, spec)

    def loss(self, turn: str, batch: Batch, step: int) -> Losses:
        """The one turn is 'model'; `step` does not matter."""
        seen = self.model.seen(batch.video)
        draws = self.draw(batch, seen)
        velocity, video = self._errors(batch, seen, draws.t, draws.noise, draws.keep)
        total = velocity.mean()
        return Losses(total=total, parts={"video": video.mean().detach()})

    def noised(self, batch: Batch) -> Noised:
        """Videos on the way to noise, as `loss` would see them."""
        clean = self.model.seen(batch.video)
        draws = self.draw(batch, clean)
        share = draws.t[:, None, None, None, None]
        return Noised(
            clean=clean,
            noisy=share * clean + (1 - share) * draws.noise,
            t=draws.t,
            weight=1 / (1 - draws.t).clamp_min(self.config.least_noise).square(),
        )

    def validation_loss(self, batch: Batch) -> Losses:
        """Mean over ten fixed times with all conditions shown: falls as samples get better."""
        spread = (torch.arange(_VALIDATION_TIMES) + 0.5) / _VALIDATION_TIMES
        real = self.model.seen(batch.video)
        noise = self.draw(batch, real).noise
        errors = [
            self._errors(batch, real, t.repeat(len(batch)).to(noise.device), noise, {})
            for t in shifted(spread, self.config.shift)
        ]
        velocity = torch.stack([each[0] for each in errors]).mean(0)  # (B,)
        video = torch.stack([each[1] for each in errors]).mean(0)
        return Losses(total=velocity, parts={"video": video})

    def draw(self, batch: Batch, seen: Tensor) -> Draws:
        """Times, noise like `seen` and hidden conditions, each sample's from its own seed alone.

        Times are logit-normal with an even part, shifted (arXiv:2403.03206).
        """
        config, names = self.config, sorted(self.model.conditions)
        normal, uniform, noise = [], [], []
        for seed in batch.seed.tolist():
            stream = torch.Generator().manual_seed(seed)
            normal.append(torch.randn(1, generator=stream))
            uniform.append(torch.rand(3 + len(names), generator=stream))
            noise.append(torch.randn(seen.shape[1:], generator=stream))
        z, u = torch.cat(normal), torch.stack(uniform)  # (B,), (B, 3 + conditions)
        middle = shifted(torch.sigmoid(z), config.shift)
        t = torch.where(u[:, 0] < config.uniform_share, u[:, 1], middle)
        device = batch.video.device
        keep = shown(u[:, 2:], names, config.condition_dropout, device)
        return Draws(t=t.to(device), noise=torch.stack(noise).to(device), keep=keep)

    def blocks(self) -> list[nn.Module]:
        """Those of the transformer: the codec is frozen."""
        return list(self.model.network.blocks)

    def _errors(
        self, batch: Batch, real: Tensor, t: Tensor, noise: Tensor, keep: dict[str, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Squared errors of the velocity and of the video, means over each sample, (B,).

        An error of the video is one of the velocity over the share of noise. Near t = 1 that would
        drown all the rest, so the share counts as at least `least_noise` (as in arXiv:2511.13720).
        """
        share = t[:, None, None, None, None]
        noisy = share * real + (1 - share) * noise
        cond = batch.cond.only(*self.model.conditions)
        seen = self.model.estimate(noisy, t, cond, keep)
        video = (seen - real).square().flatten(1).mean(1)
        return video / (1 - t).clamp_min(self.config.least_noise).square(), video
