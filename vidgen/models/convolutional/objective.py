"""The convolutional family's Objective: be right about the future."""

from __future__ import annotations

from typing import cast

from vidgen.config.base import FamilyConfig
from vidgen.models.base import VideoSpec
from vidgen.models.compare import ComparingObjective, Shown
from vidgen.models.convolutional.config import Config
from vidgen.models.convolutional.model import ConvolutionalModel
from vidgen.types import Batch


def build(config: FamilyConfig, spec: VideoSpec) -> ConvolutionalObjective:
    """The untrained objective for videos of `spec`."""
    return ConvolutionalObjective(cast(Config, config), spec)


class ConvolutionalObjective(ComparingObjective):
    """Errors of all future frames."""

    model: ConvolutionalModel

    def __init__(self, config: Config, spec: VideoSpec) -> None:
        super().__init__(config.loss, spec.channels)
        self.model = ConvolutionalModel(config, spec)

    def show(self, batch: Batch, step: int) -> Shown:
        assert batch.cond.past is not None  # the family's config demands it
        return Shown(made=self.model(batch.cond.past), real=batch.video)
