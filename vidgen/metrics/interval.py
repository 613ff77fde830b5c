"""Intervals for proportions and means."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, sqrt
from statistics import fmean, stdev


def wilson(successes: float, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a proportion; sensible at 0 and 1 and for small n.

    A tie may count as half a success.

    E. B. Wilson 1927, https://doi.org/10.1080/01621459.1927.10502953
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"need 0 <= successes <= n and n >= 1, got {successes} of {n}")
    share = successes / n
    scale = 1 + z * z / n
    middle = (share + z * z / (2 * n)) / scale
    half = z / scale * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low = 0.0 if successes == 0 else middle - half  # exact ends instead of rounding noise
    high = 1.0 if successes == n else middle + half
    return low, high


def mean_interval(values: Sequence[float], z: float = 1.959964) -> tuple[float, float] | None:
    """95 % interval of a mean by the normal approximation.

    None for fewer than two values, or when one is not finite.
    """
    if len(values) < 2 or not all(map(isfinite, values)):
        return None
    mean, half = fmean(values), z * stdev(values) / sqrt(len(values))
    return mean - half, mean + half
