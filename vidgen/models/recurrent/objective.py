"""The recurrent family's Objective: be right about every next frame.

B batch, C channels, P past frames, T future frames, H height, W width.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Generator, Tensor

from vidgen.config.base import FamilyConfig
from vidgen.models.base import VideoSpec
from vidgen.models.compare import ComparingObjective, Shown
from vidgen.models.recurrent.config import Config
from vidgen.models.recurrent.model import RecurrentModel
from vidgen.types import Batch


def build(config: FamilyConfig, spec: VideoSpec) -> RecurrentObjective:
    """The untrained objective for videos of `spec`."""
    return RecurrentObjective(cast(Config, config), spec)


class RecurrentObjective(ComparingObjective):
    """Errors of all next frames in training, of the future alone in validation."""

    model: RecurrentModel

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__(config.loss, spec.channels)
        self.config = config
        self.model = RecurrentModel(config, spec)

    def show(self, batch: Batch, step: int) -> Shown:
        past, truth = batch.cond.past, batch.video
        assert past is not None  # the family's config demands it
        frames = truth.shape[2]
        if not self.training:
            return Shown(made=self.model(past, frames)[:, :, -frames:], real=truth)
        made = self.model(past, frames, truth, self.true_frames(batch, step))
        return Shown(made=made, real=torch.cat([past[:, :, 1:], truth], 2))

    def true_frames(self, batch: Batch, step: int) -> Tensor:
        """Which future frames a step of training feeds as they are, (B, T) bool."""
        until, frames = self.config.truth_until, batch.video.shape[2]
        share = max(0.0, 1 - step / until) if until else 0.0
        rows = [
            torch.rand(frames, generator=Generator().manual_seed(seed)) < share
            for seed in batch.seed.tolist()
        ]
        return torch.stack(rows).to(batch.video.device)
