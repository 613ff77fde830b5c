"""How much each key of a sweep mattered: the share of the differences in score that go with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vidgen.config.space import Values

_BINS = 3
_FEWEST = 5  # trials; fewer say nothing

Curves = Mapping[str, Sequence[tuple[int, float]]]  # (step, score) by trial


def common_step(curves: Curves) -> int | None:
    """The latest step that at least half of the trials, and five, were measured at.

    Trials that were stopped early compare there with those that were not.
    """
    counts: dict[int, int] = {}
    for curve in curves.values():
        for step, _ in curve:
            counts[step] = counts.get(step, 0) + 1
    wanted = max(_FEWEST, (len(curves) + 1) // 2)
    return max((step for step, count in counts.items() if count >= wanted), default=None)


def importance(
    keys: Sequence[str], values: Sequence[Values], scores: Sequence[float]
) -> dict[str, float]:
    """For each key, the share of the variance of the scores' ranks between its values, 0 to 1.

    Omega squared, which is 0 on average for a key that does nothing. Numbers are put into three
    groups of equal size; a key that a trial does not have is a value of its own. Ranks keep one
    diverged trial from deciding everything.
    """
    order = sorted(range(len(scores)), key=lambda i: scores[i])
    ranks = [0.0] * len(scores)
    for place, index in enumerate(order):
        ranks[index] = float(place)
    return {key: _omega([each.get(key) for each in values], ranks) for key in keys}


def _omega(column: Sequence[Any], ranks: Sequence[float]) -> float:
    groups: dict[Any, list[float]] = {}
    for label, rank in zip(_labels(column), ranks, strict=True):
        groups.setdefault(label, []).append(rank)
    count, kinds = len(ranks), len(groups)
    if count < _FEWEST or kinds < 2 or kinds >= count:
        return 0.0
    mean = sum(ranks) / count
    total = sum((rank - mean) ** 2 for rank in ranks)
    within = sum(
        sum((rank - sum(group) / len(group)) ** 2 for rank in group) for group in groups.values()
    )
    noise = within / (count - kinds)
    return max(0.0, (total - within - (kinds - 1) * noise) / (total + noise))


def _labels(column: Sequence[Any]) -> list[Any]:
    given = [v for v in column if v is not None]
    numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in given)
    if not numbers or len(set(given)) <= _BINS:
        return [str(value) for value in column]
    order = sorted(given)
    edges = [order[len(order) * n // _BINS] for n in range(1, _BINS)]
    return [None if v is None else sum(v >= edge for edge in edges) for v in column]
