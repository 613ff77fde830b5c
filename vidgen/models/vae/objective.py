"""The vae family's Objective: give the video back from few numbers.

B batch, C channels, T frames, H height, W width; Z latent channels, t, h and w the latent's size.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor

from vidgen.config.base import FamilyConfig
from vidgen.models.base import VideoSpec
from vidgen.models.compare import ComparingObjective, Shown
from vidgen.models.vae.config import Config
from vidgen.models.vae.model import VaeModel
from vidgen.types import Batch


def build(config: FamilyConfig, spec: VideoSpec) -> VaeObjective:
    """The untrained objective for videos of `spec`."""
    return VaeObjective(cast(Config, config), spec)


class VaeObjective(ComparingObjective):
    """Errors of the decoded video and, for a VAE, the divergence of the latents from normal."""

    model: VaeModel

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__(config.loss, spec.channels)
        self.config = config
        self.model = VaeModel(config, spec)

    def show(self, batch: Batch, step: int) -> Shown:
        model = self.model
        mean, spread = model.look(batch.video)
        if model.quantise is not None:
            return Shown(made=model.decoder(model.quantise(mean)), real=batch.video)
        # Half of mean^2 + variance - log(variance) - 1, a mean over latent numbers.
        divergence = 0.5 * (mean.square() + spread.exp() - spread - 1).flatten(1).mean(1)
        latents = mean
        if self.training:
            latents = mean + (0.5 * spread).exp() * _noise(batch, mean)
        return Shown(
            made=model.decoder(latents),
            real=batch.video,
            extra={"kl": self.config.kl * divergence},
        )


def _noise(batch: Batch, like: Tensor) -> Tensor:
    """Normal noise for latents, each sample's from its own seed."""
    rows = [
        torch.randn(like.shape[1:], generator=Generator().manual_seed(seed))
        for seed in batch.seed.tolist()
    ]
    return torch.stack(rows).to(like.device)
