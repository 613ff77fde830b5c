"""How far raters agree: Krippendorff's alpha (Krippendorff 2011, Computing the same)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Apart = Callable[[Any, Any], float]  # how far two values are from each other


def nominal(one: object, other: object) -> float:
    """Equal or not."""
    return float(one != other)


def squared(one: float, other: float) -> float:
    """For marks, where 1 and 5 disagree more than 4 and 5."""
    return float(one - other) ** 2


def alpha(units: Iterable[Sequence[Any]], apart: Apart) -> float | None:
    """1 for full agreement, 0 for what chance gives, below 0 for less than that.

    Args:
        units: per unit (a pair, a video), the values its raters gave; those with one value do not
            count.
        apart: distance of two values.

    Returns None when no unit has two values, or when all values are the same, where alpha is not
    defined.
    """
    several = [list(unit) for unit in units if len(unit) > 1]
    everything = Counter(value for unit in several for value in unit)
    total = sum(everything.values())
    expected = sum(
        n * m * apart(x, y) for x, n in everything.items() for y, m in everything.items()
    )
    if not several or not expected:
        return None
    observed = sum(
        sum(apart(x, y) for x in unit for y in unit) / (len(unit) - 1) for unit in several
    )
    return 1 - observed * (total - 1) / expected
