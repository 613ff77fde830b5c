"""Intervals of scores and of differences between two runs, by resampling the clips they share.

Two runs are scored on the same held-out clips, so clips are resampled for both at once: what makes
a clip hard or easy cancels out of the difference, and small differences show at small N.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from vidgen.errors import EvaluationError

ROUNDS = 2000  # for means, which cost nothing
SET_ROUNDS = 100  # for statistics of whole sets
FEW_ROUNDS = 30  # for those that take long
LEVEL = 0.95

Statistics = Callable[[Tensor], dict[str, float]]  # of the clips with these indices


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How far apart two runs are, or how far a score is from 0.

    Attributes:
        value: this run's score minus the other's.
        low, high: ends of the 95 % interval.
    """

    value: float
    low: float
    high: float

    @property
    def clear(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.low > 0 or self.high < 0


def paired_means(
    mine: Tensor, theirs: Tensor, *, rounds: int = ROUNDS, seed: int = 0
) -> Difference:
    """Difference of the means of two (N,) per-clip values, by the paired percentile bootstrap.

    Efron and Tibshirani 1993. Row i of both must belong to the same clip.
    """
    if mine.shape != theirs.shape or mine.ndim != 1:
        raise EvaluationError(
            f"a paired comparison got {tuple(mine.shape)} and {tuple(theirs.shape)} values",
            expected="one value per clip and run, the same clips",
        )
    _enough(len(mine))
    gap = mine.double() - theirs.double()
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randint(len(gap), (rounds, len(gap)), generator=generator)
    low, high = _ends(gap[rows].mean(1))
    return Difference(value=float(gap.mean()), low=low, high=high)


def half_samples(
    statistics: Statistics, n: int, *, rounds: int = SET_ROUNDS, seed: int = 0
) -> dict[str, Difference]:
    """Statistics of n clips by name, with the ends of their 95 % intervals.

    For statistics of a set, such as distances between distributions and shares of neighbours, the
    usual bootstrap is wrong: a clip drawn twice is its own nearest neighbour. Instead each round
    takes a random half without repeats; the spread over halves is that of the whole set
    (delete-half jackknife, Shao and Wu 1989). Their common shift, the bias of having half as many
    clips, is taken out. A statistic that half of the clips do not allow has no interval: it is
    left out.
    """
    _enough(n)
    whole = statistics(torch.arange(n))
    generator = torch.Generator().manual_seed(seed)
    halves = [statistics(_half(n, generator)) for _ in range(rounds)]
    found = {}
    for name, value in whole.items():
        spread = torch.tensor([half[name] for half in halves if name in half], dtype=torch.float64)
        if len(spread) == rounds:
            low, high = _ends(spread - spread.mean())
            found[name] = Difference(value=value, low=value + low, high=value + high)
    return found


def _half(n: int, generator: torch.Generator) -> Tensor:
    return torch.randperm(n, generator=generator)[: n // 2].sort().values


def _ends(values: Tensor) -> tuple[float, float]:
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(values, torch.tensor([tail, 1 - tail], dtype=values.dtype)).tolist()
    return low, high


def _enough(n: int) -> None:
    if n < 4:
        raise EvaluationError(
            f"an interval needs at least 4 clips, got {n}", fix="Raise evaluate.clips."
        )
