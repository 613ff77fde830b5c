"""A sweep on one self-contained HTML page: what is on it, and where its lines run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vidgen.observe.curves import Chart, Tick, nice_ticks, short
from vidgen.observe.report import Fact, Grid, fill

_EDGE = 4.0  # percent of an axis that stays free at both ends
_APART = 0.06  # of an axis, between two texts that can be read


@dataclass(frozen=True, kw_only=True)
class Bar:
    """How much a key matters: `share` is percent of a full bar."""

    name: str
    share: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A vertical axis of the parallel coordinates, `at` percent from the left."""

    name: str
    at: float
    ticks: list[Tick]


@dataclass(frozen=True, kw_only=True)
class Thread:
    """A trial's line through all axes: SVG in a 100 x 100 box; `tone` is 0 (best) to 4."""

    trial: str
    state: str
    path: str
    tone: int


@dataclass(frozen=True, kw_only=True)
class TrialRow:
    """A row of the table of trials; `cells` as text, in the order of the page's `columns`."""

    trial: str
    state: str
    cells: list[str]


@dataclass(frozen=True, kw_only=True)
class SweepPage:
    """Everything on a sweep's page."""

    name: str
    url: str
    description: str
    facts: list[Fact]
    warnings: list[str]
    best: str
    axes: list[Axis]
    threads: list[Thread]
    curves: Chart | None
    metric: str
    tones: dict[str, int]
    importance: list[Bar]
    importance_note: str
    final: Grid | None
    columns: list[str]
    rows: list[TrialRow]
    config: str
    sweep: str
    made_with: str
    made_at: str


def render_sweep(page: SweepPage) -> str:
    """The page as HTML."""
    return fill("sweep.html", page, also="sweep")


def thread(
    columns: Mapping[str, Sequence[Any]], trials: Sequence[tuple[str, str, int]], log: set[str]
) -> tuple[list[Axis], list[Thread]]:
    """Lay out trials over vertical axes, one a column.

    Args:
        columns: by the axis' name, a value for each trial; None where the trial has none.
        trials: name, state and tone of each.
        log: axes that are logarithmic.
    """
    names = list(columns)
    across = [100 * i / max(1, len(names) - 1) for i in range(len(names))]
    axes, places = [], []
    for name, at in zip(names, across, strict=True):
        ticks, place = _axis(columns[name], log=name in log)
        axes.append(Axis(name=name, at=at, ticks=ticks))
        places.append(place)
    threads = []
    for row, (trial, state, tone) in enumerate(trials):
        path = ""
        for name, at, place in zip(names, across, places, strict=True):
            value = columns[name][row]
            if value is not None:  # a line goes straight past an axis it has no value on
                path += f"{'L' if path else 'M'}{at:.2f} {place(value):.2f}"
        threads.append(Thread(trial=trial, state=state, path=path, tone=tone))
    return axes, threads


def _axis(values: Sequence[Any], *, log: bool) -> tuple[list[Tick], Any]:
    """Ticks of an axis, and a function from a value to its place, percent from the top."""
    given = [value for value in values if value is not None]
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in given):
        kinds = sorted({str(value) for value in given})
        spots = {kind: _spot(i, 0, len(kinds) - 1) for i, kind in enumerate(kinds)}
        return [Tick(at=at, text=kind) for kind, at in spots.items()], lambda v: spots[str(v)]
    low, high = min(given, default=0.0), max(given, default=1.0)
    distinct = sorted(set(given))
    if log:
        ticks = [
            m * 10.0**power
            for power in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            for m in (1, 2, 5)
        ]
    else:
        apart = min((b - a for a, b in itertools.pairwise(distinct)), default=0.0)
        ticks = distinct if apart > _APART * (high - low) else nice_ticks(low, high)

    def place(value: float) -> float:
        if log:
            return _spot(math.log(value), math.log(low), math.log(high))
        return _spot(value, low, high)

    shown = [tick for tick in ticks if low <= tick <= high]
    if log and len(shown) < 2:
        shown = [low, high]
    return [Tick(at=place(tick), text=short(tick)) for tick in shown], place


def _spot(value: float, low: float, high: float) -> float:
    if high == low:
        return 50.0
    return 100 - _EDGE - (100 - 2 * _EDGE) * (value - low) / (high - low)
