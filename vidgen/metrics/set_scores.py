"""All scores that compare a set of videos with a set of real ones, on an extractor's features.

Legend: N videos of a set, F feature vectors a video (1, or one per frame), D feature size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from vidgen.errors import EvaluationError
from vidgen.metrics.distances import kernel_distance
from vidgen.metrics.features.table import score_names
from vidgen.metrics.frechet import RELIABLE_SAMPLES, Gaussian, extrapolated, frechet_distance
from vidgen.metrics.neighbours import NEIGHBOURS, manifolds
from vidgen.metrics.sample import LIMIT, FeatureSample
from vidgen.metrics.temporal import MEASURES, consistency

FEW = 16  # videos; with fewer, a line through distances of subsets means nothing


@dataclass(frozen=True, kw_only=True)
class About:
    """What a score is: which way is better, its unit, and the values that it can have."""

    better: Literal["higher", "lower"]
    unit: str = ""
    least: float = 0.0
    most: float = math.inf


class SetScorer(Protocol):
    """Real and generated features, (N, F, D) and (M, F, D), to scores by name."""

    @property
    def about(self) -> dict[str, About]:
        """Every score that may come out."""

    def __call__(self, real: Tensor, fake: Tensor, *, quick: bool = False) -> dict[str, float]:
        """The scores that this many videos allow; `quick` leaves out the expensive ones."""


@dataclass(frozen=True)
class DistributionScorer:
    """Distances between distributions, then what neighbours tell.

    Args:
        extractor: row of the table of extractors; it names the scores.
    """

    extractor: str

    @property
    def about(self) -> dict[str, About]:
        names = score_names(self.extractor)
        distances = (names.frechet, f"{names.frechet}_unbiased", names.kernel)
        found = {name: About(better="lower") for name in distances}
        found[names.kernel] = About(better="lower", least=-math.inf)  # unbiased: below 0 at times
        for share in ("precision", "recall", "coverage"):
            found[f"{share}_{self.extractor}"] = About(better="higher", unit="ratio", most=1.0)
        found[f"density_{self.extractor}"] = About(better="higher")
        return found

    def __call__(self, real: Tensor, fake: Tensor, *, quick: bool = False) -> dict[str, float]:
        names, videos = score_names(self.extractor), min(len(real), len(fake))
        if videos < 2:
            raise EvaluationError(
                f"comparing sets of videos needs at least 2 on each side, got {videos}",
                fix="Raise evaluate.clips, or use a split with more clips.",
            )
        one, other = real.flatten(0, 1), fake.flatten(0, 1)  # (N F, D)
        found = {names.frechet: frechet_distance(Gaussian.of(one), Gaussian.of(other))}
        # The distance falls with N whatever the videos show; below this the other form is better.
        if FEW <= videos < RELIABLE_SAMPLES and not quick:
            found[f"{names.frechet}_unbiased"] = extrapolated(one, other)
        found[names.kernel] = kernel_distance(one, other)
        if videos > NEIGHBOURS:
            # Neighbours of whole videos: the frames of one video are all near each other.
            shares = manifolds(real.flatten(1), fake.flatten(1))
            found |= {f"{share}_{self.extractor}": value for share, value in vars(shares).items()}
        return found


@dataclass(frozen=True)
class TemporalScorer:
    """`temporal_consistency`, on the measurements of metrics/temporal.py as features."""

    @property
    def about(self) -> dict[str, About]:
        return {"temporal_consistency": About(better="higher", most=1.0)}

    def __call__(self, real: Tensor, fake: Tensor, *, quick: bool = False) -> dict[str, float]:
        found = consistency(real.flatten(0, 1), fake.flatten(0, 1))
        return {name: found[name] for name in self.about}


class SetScores(FeatureSample):
    """A scorer over a stream of videos; keeps a bounded sample of them.

    Args:
        scorer: what is computed.
        dim: D.
        per_video: F.
        limit: feature vectors kept a side.
    """

    higher_is_better = None

    def __init__(
        self, scorer: SetScorer, dim: int, *, per_video: int = 1, limit: int = LIMIT, **kwargs: Any
    ) -> None:
        super().__init__(per_video * dim, limit=max(1, limit // per_video), **kwargs)
        self.scorer, self.per_video = scorer, per_video

    def add(self, features: Tensor, index: Tensor, *, real: bool) -> None:
        """Add (B * F, D) features of the B videos with these indices."""
        self.update(features.reshape(len(index), -1), index, real=real)

    def sides(self) -> tuple[Tensor, Tensor]:
        """Real and generated features kept, (N, F, D) each."""
        real, fake = (self.sample(side)[0] for side in ("real", "fake"))
        shape = (self.per_video, self.dim // self.per_video)
        return real.reshape(len(real), *shape), fake.reshape(len(fake), *shape)

    def compute(self) -> dict[str, Tensor]:
        """Scores by name."""
        found = self.scorer(*self.sides())
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}


def temporal_sample(**kwargs: Any) -> SetScores:
    """A SetScores for the measurements of `temporal.measure`."""
    return SetScores(TemporalScorer(), len(MEASURES), **kwargs)
