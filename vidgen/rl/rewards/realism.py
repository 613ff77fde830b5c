"""Near real clips in the space of a feature extractor."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from vidgen.metrics.features.table import build_extractor
from vidgen.rl.rewards.level import Fault
from vidgen.types import to_uint8


class Realism(Fault):
    """Mean squared deviation from real clips, in their standard deviations, over the features.

    Args:
        extractor: a row of the table of feature extractors.
        weights: file of its weights, for one that has any.
    """

    def __init__(self, extractor: str = "st-stats", weights: str | None = None) -> None:
        super().__init__()
        self._extractor = build_extractor(extractor, path=Path(weights) if weights else None)
        self._mean = self._std = torch.empty(0)

    def fit(self, real: Tensor) -> None:
        features = self._features(real)
        self._mean = features.mean(0)
        # Features that hardly vary among few clips would drown the others.
        self._std = features.std(0).clamp_min(0.05 * features.std(0).median() + 1e-6)
        super().fit(real)

    def measure(self, video: Tensor) -> Tensor:
        gap = (self._features(video) - self._mean) / self._std
        found: Tensor = gap.square().clamp_max(100).mean(1).float()
        return found

    def _features(self, video: Tensor) -> Tensor:
        """(B, D), of a whole video."""
        found = self._extractor.to(video.device)(to_uint8(video)).clone()  # out of inference mode
        mean: Tensor = found.reshape(len(video), -1, found.shape[-1]).mean(1)
        return mean


build = Realism
