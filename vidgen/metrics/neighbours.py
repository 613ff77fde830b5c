"""What nearest neighbours tell: fidelity apart from diversity, and copies of the training clips.

Precision and recall: Kynkaanniemi et al. 2019. Density and coverage: Naeem et al. 2020.

A set of features stands for a manifold: the union of balls around its points, each as wide as the
distance to the point's k-th neighbour. Precision is the share of generated points inside the real
manifold; recall the share of real points inside the generated one.

Legend: N real, M generated, D feature size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vidgen.errors import EvaluationError

NEIGHBOURS = 5  # k, as Naeem et al. recommend
_PAIRS = 2**20  # distances held at a time, 8 MB: as many for a hundred clips as for ten thousand


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """The four shares; all but density are in [0, 1], density may exceed 1. Higher is better."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifolds(real: Tensor, fake: Tensor, *, k: int = NEIGHBOURS) -> Coverage:
    """Precision, recall, density and coverage of (M, D) generated against (N, D) real features.

    On the ball's surface counts as inside (<=), as in the paper.
    """
    least = min(len(real), len(fake))
    if least < k + 1:
        raise EvaluationError(
            f"precision and recall with k = {k} need {k + 1} clips on each side, got {least}",
            fix="Raise evaluate.clips, or use a split with more clips.",
        )
    real_radius, fake_radius = radii(real, k), radii(fake, k)
    precise, inside = 0, 0  # generated points in some real ball; pairs (generated, real ball)
    recalled = torch.zeros(len(real), dtype=torch.bool, device=real.device)
    nearest = torch.full((len(real),), torch.inf, dtype=torch.float64, device=real.device)
    at_once = _rows(real)
    for rows, radius in zip(
        torch.split(fake, at_once), torch.split(fake_radius, at_once), strict=True
    ):
        distance = _distances(rows, real)  # (rows, N)
        hit = distance <= real_radius
        precise += int(hit.any(1).sum())
        inside += int(hit.sum())
        recalled |= (distance <= radius[:, None]).any(0)
        nearest = torch.minimum(nearest, distance.min(0).values)
    return Coverage(
        precision=precise / len(fake),
        recall=float(recalled.double().mean()),
        density=inside / (k * len(fake)),
        coverage=float((nearest <= real_radius).double().mean()),
    )


def radii(x: Tensor, k: int) -> Tensor:
    """(N,) distance of each point to its k-th nearest other point."""
    found, at_once = [], _rows(x)
    for start in range(0, len(x), at_once):
        distance = _distances(x[start : start + at_once], x)
        own = torch.arange(len(distance), device=x.device)
        distance[own, own + start] = torch.inf  # the point itself is no neighbour
        found.append(distance.kthvalue(k, dim=1).values)
    return torch.cat(found)


@dataclass(frozen=True, kw_only=True)
class Copies:
    """How close generated clips come to training clips.

    Attributes:
        share: of the generated clips that are nearer to a training clip than `threshold`.
        threshold: the distance that only `expected` of the held-out real clips undercut.
        expected: share of held-out real clips below the threshold; `share` well above it is
            copying.
        distance: (M,) of each generated clip to its nearest training clip.
        nearest: (M,) position of that training clip.
    """

    share: float
    threshold: float
    expected: float
    distance: Tensor
    nearest: Tensor


def copies(fake: Tensor, train: Tensor, held_out: Tensor, *, quantile: float = 0.05) -> Copies:
    """Find duplicates of training clips, on the scale that held-out real clips set.

    A real clip the model never saw is near some training clip too; only generated clips that are
    nearer than nearly all of those are suspicious.

    Args:
        fake, train, held_out: (M, D), (N, D), (H, D) features.
        quantile: share of the held-out clips that may be nearer than the threshold.
    """
    for name, x in (("generated", fake), ("training", train), ("held-out", held_out)):
        if len(x) < 1:
            raise EvaluationError(f"the search for copied training clips got no {name} clips")
    own, _ = _nearest(held_out, train)
    threshold = torch.quantile(own, quantile, interpolation="lower")
    distance, nearest = _nearest(fake, train)
    return Copies(
        share=float((distance <= threshold).double().mean()),
        threshold=float(threshold),
        expected=float((own <= threshold).double().mean()),
        distance=distance,
        nearest=nearest,
    )


def _nearest(x: Tensor, among: Tensor) -> tuple[Tensor, Tensor]:
    found = [_distances(rows, among).min(1) for rows in torch.split(x, _rows(among))]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def _rows(among: Tensor) -> int:
    """How many points are measured against all of these at a time."""
    return max(1, _PAIRS // len(among))


def _distances(x: Tensor, y: Tensor) -> Tensor:
    """Euclidean, float64, by differences: the faster products cannot tell duplicates from 0."""
    return torch.cdist(x.double(), y.double(), compute_mode="donot_use_mm_for_euclid_dist")
