"""Fréchet distance between two sets of feature vectors, each seen as one Gaussian.

    d^2 = |mu_a - mu_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2))

Heusel et al. 2017 (FID), Unterthiner et al. 2018 (FVD). The score is named after the features it
was computed on: 'FID' and 'FVD' belong to two particular networks, see features/table.py.

Legend: N samples, D feature size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vidgen.errors import EvaluationError

# Below this many samples a side the distance is dominated by its bias, which falls as 1/N. The
# number is the smallest for which Chong and Forsyth 2020 still call FID comparisons usable.
RELIABLE_SAMPLES = 2048


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """A mean and a covariance kept as a factor: S = F^T F.

    The factor is what makes the distance exact when there are fewer samples than features, where
    the covariance is singular and a matrix square root loses half of its digits.

    Attributes:
        n: samples it was estimated from.
        mean: (D,) float64.
        factor: (K, D) float64, K <= D or K = N.
    """

    n: int
    mean: Tensor
    factor: Tensor

    @classmethod
    def of(cls, features: Tensor) -> Gaussian:
        """Mean and unbiased (n - 1) covariance of (N, D) features."""
        n = _enough(len(features))
        x = features.double()
        mean = x.mean(0)
        factor = (x - mean) / math.sqrt(n - 1)
        if n > x.shape[1]:  # a (D, D) factor is smaller
            return cls.of_covariance(mean, factor.T @ factor, n=n)
        return cls(n=n, mean=mean, factor=factor)

    @classmethod
    def of_moments(cls, n: int, total: Tensor, outer: Tensor) -> Gaussian:
        """From sum x (D,) and sum x x^T (D, D), both float64: what a stream keeps."""
        mean = total / _enough(n)
        return cls.of_covariance(mean, (outer - n * torch.outer(mean, mean)) / (n - 1), n=n)

    @classmethod
    def of_covariance(cls, mean: Tensor, covariance: Tensor, *, n: int = 2) -> Gaussian:
        """From a mean (D,) and a symmetric covariance (D, D)."""
        values, vectors = torch.linalg.eigh(covariance.double())
        # Rounding leaves tiny eigenvalues where there are none; their square roots would not be
        # tiny.
        noise = values.abs().max() * len(values) * torch.finfo(torch.float64).eps
        values = torch.where(values > noise, values, torch.zeros_like(values))
        return cls(n=n, mean=mean.double(), factor=values.sqrt()[:, None] * vectors.T)


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """Squared Fréchet distance (the convention of FID and FVD).

    tr (S_a S_b)^(1/2) is the nuclear norm of F_a F_b^T, whatever the rank of the factors.
    """
    cross = torch.linalg.svdvals(a.factor @ b.factor.T).sum()
    spread = a.factor.square().sum() + b.factor.square().sum() - 2 * cross
    return float((a.mean - b.mean).square().sum() + spread)


def extrapolated(real: Tensor, fake: Tensor, *, points: int = 15, seed: int = 0) -> float:
    """Fréchet distance at infinitely many samples: the unbiased form for small N.

    The bias of the distance is linear in 1/N (Chong and Forsyth 2020), so a line through the
    distances of random subsets meets 1/N = 0 at an unbiased estimate. Like any unbiased estimate
    of something near zero it may come out negative; it is not clamped.

    Args:
        real, fake: (N, D) and (M, D) features.
        points: subset sizes, evenly spaced between half of the samples and all of them.
    """
    generator = torch.Generator().manual_seed(seed)
    inverse, distance = [], []
    for share in torch.linspace(0.5, 1.0, points).tolist():
        a, b = (_subset(x, max(2, round(share * len(x))), generator) for x in (real, fake))
        # Each side's bias goes with its own 1/N; subsets keep the two in proportion.
        inverse.append(1 / len(a) + 1 / len(b))
        distance.append(frechet_distance(Gaussian.of(a), Gaussian.of(b)))
    x = torch.tensor(inverse, dtype=torch.float64)
    y = torch.tensor(distance, dtype=torch.float64)
    slope = ((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum().clamp_min(
        1e-300
    )
    return float(y.mean() - slope * x.mean())


class FrechetDistance(Metric):
    """Streams features into sums; memory is two (D, D) matrices however many clips go by.

    Args:
        dim: D.
    """

    higher_is_better = False
    is_differentiable = False
    full_state_update = False

    def __init__(self, dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for side in ("real", "fake"):
            self.add_state(f"{side}_n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
            self.add_state(f"{side}_sum", torch.zeros(dim, dtype=torch.float64), "sum")
            self.add_state(f"{side}_outer", torch.zeros(dim, dim, dtype=torch.float64), "sum")

    def update(self, features: Tensor, *, real: bool) -> None:
        """Add (N, D) features of one side."""
        x = finite(features).double()
        side = "real" if real else "fake"
        setattr(self, f"{side}_n", getattr(self, f"{side}_n") + len(x))
        setattr(self, f"{side}_sum", getattr(self, f"{side}_sum") + x.sum(0))
        setattr(self, f"{side}_outer", getattr(self, f"{side}_outer") + x.T @ x)

    def compute(self) -> Tensor:
        """Scalar. Raises EvaluationError when a side has fewer than two samples."""
        real, fake = self.gaussian("real"), self.gaussian("fake")
        return torch.tensor(frechet_distance(real, fake), dtype=torch.float64)

    def gaussian(self, side: str) -> Gaussian:
        n, total, outer = (getattr(self, f"{side}_{name}") for name in ("n", "sum", "outer"))
        return Gaussian.of_moments(int(n), total, outer)


def finite(features: Tensor) -> Tensor:
    """The features, or EvaluationError naming the first row that is not finite."""
    bad = (~torch.isfinite(features)).flatten(1).any(1)
    if bad.any():
        row = int(bad.nonzero()[0])
        raise EvaluationError(
            f"features of video {row} in this batch are not finite numbers",
            fix="A NaN in the video or in the extractor; look at the video.",
        )
    return features


def _enough(n: int) -> int:
    if n < 2:
        raise EvaluationError(
            f"a Fréchet distance needs at least 2 samples on each side, got {n}",
            fix="Raise evaluate.clips, or use a split with more clips.",
        )
    return n


def _subset(x: Tensor, n: int, generator: torch.Generator) -> Tensor:
    return x[torch.randperm(len(x), generator=generator)[:n]]
