"""Kernel distance (KID) and Inception score, as pure functions and as streaming metrics.

Both are named after the features they were computed on; only the Inception network of Szegedy et
al. earns the names KID and IS (see features/table.py).

Legend: N, M samples, D feature size, K classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vidgen.errors import EvaluationError
from vidgen.metrics.frechet import finite

_PAIRS = 2**20  # values of a kernel matrix held at a time, 8 MB for any number of samples


def kernel_distance(real: Tensor, fake: Tensor, *, degree: int = 3) -> float:
    """Unbiased squared maximum mean discrepancy, kernel (x . y / D + 1)^degree.

    Binkowski et al. 2018. Uses every pair instead of random subsets, so it has no seed. It is an
    unbiased estimate of a number that may be zero, hence may be negative; it is not clamped.
    """
    a, b = real.double(), fake.double()
    n, m = len(a), len(b)
    if min(n, m) < 2:
        raise EvaluationError(f"a kernel distance needs 2 samples on each side, got {n} and {m}")

    def total(x: Tensor, y: Tensor) -> Tensor:
        at_once = max(1, _PAIRS // len(y))
        parts = [
            ((rows @ y.T / x.shape[1] + 1) ** degree).sum() for rows in torch.split(x, at_once)
        ]
        return torch.stack(parts).sum()

    def diagonal(x: Tensor) -> Tensor:
        return ((x.square().sum(1) / x.shape[1] + 1) ** degree).sum()

    within = (total(a, a) - diagonal(a)) / (n * (n - 1)) + (total(b, b) - diagonal(b)) / (
        m * (m - 1)
    )
    return float(within - 2 * total(a, b) / (n * m))


class InceptionScore(Metric):
    """exp of the mean KL divergence of p(class | video) from p(class); 1 to K, higher is better.

    Salimans et al. 2016, without splits, over a stream of videos: keeps K + 2 numbers.

    Args:
        classes: K.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False
    n: Tensor
    total: Tensor
    entropy: Tensor

    def __init__(self, classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("n", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("entropy", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor) -> None:
        """Add (N, K) class probabilities of generated videos or frames; rows sum to 1."""
        p = finite(probabilities).double()
        self.n = self.n + len(p)
        self.total = self.total + p.sum(0)
        self.entropy = self.entropy + torch.special.entr(p).sum()

    def compute(self) -> Tensor:
        """Scalar."""
        return torch.tensor(_score(int(self.n), self.total, self.entropy), dtype=torch.float64)


def _score(n: int, total: Tensor, entropy: Tensor) -> float:
    """From sum p (K,) and the sum of the entropies of the rows: KL = H(mean p) - mean H(p)."""
    if n < 1:
        raise EvaluationError("an Inception score needs at least 1 generated video")
    return float(torch.exp(torch.special.entr(total / n).sum() - entropy / n))
