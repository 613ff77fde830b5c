"""Curves for report pages: points to SVG paths and axis ticks, in percent of the plot.

The drawing stretches with the page while strokes and text do not, so it is crisp at any width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_POINTS = 500  # per series on a page; more would not be seen
LOG_SPAN = 6.0  # positive values that span more than this factor get a logarithmic axis

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Series:
    """One curve: (x, y) points in order of x.

    Attributes:
        name: for the legend.
        points: the values as measured; those that are not finite are left out of the drawing.
        dots: mark each point, for sparse measurements.
        smooth: draw the running mean, and the points themselves faintly behind it.
    """

    name: str
    points: Points
    dots: bool = False
    smooth: bool = False


@dataclass(frozen=True, kw_only=True)
class Tick:
    at: float  # percent of the axis
    text: str


@dataclass(frozen=True, kw_only=True)
class Line:
    """A drawn series: `path` is SVG in a 100 x 100 box; `shown` are the points for the reader.

    `number` counts the series from 1, those without points too, so that colours stay with names.
    """

    name: str
    number: int
    path: str
    faint: str
    dots: str
    shown: list[tuple[float, float, float, float]]  # x %, y %, x, y
    last: float


@dataclass(frozen=True, kw_only=True)
class Chart:
    title: str
    unit: str
    log: bool
    lines: list[Line]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    skipped: int  # points that were not finite


def draw(
    title: str, series: Sequence[Series], *, unit: str = "", from_zero: bool = False
) -> Chart | None:
    """Lay out series on common axes; None when there is nothing to draw."""
    finite = [[(x, y) for x, y in each.points if math.isfinite(y)] for each in series]
    skipped = sum(len(each.points) - len(kept) for each, kept in zip(series, finite, strict=True))
    thinned = [thin(points, MAX_POINTS) for points in finite]
    seen = [point for points in thinned for point in points]
    if not seen:
        return None
    x0, x1 = min(x for x, _ in seen), max(x for x, _ in seen)
    low, high = min(y for _, y in seen), max(y for _, y in seen)
    log = low > 0 and high / low > LOG_SPAN and not from_zero
    low = min(low, 0.0) if from_zero else low
    y_values = _log_ticks(low, high) if log else nice_ticks(low, high)
    y0, y1 = min(low, y_values[0]), max(high, y_values[-1])

    def across(x: float) -> float:
        return 50.0 if x1 == x0 else 100 * (x - x0) / (x1 - x0)

    def down(y: float) -> float:
        if log:
            return 100 * (1 - (math.log(y) - math.log(y0)) / (math.log(y1) - math.log(y0)))
        return 50.0 if y1 == y0 else 100 * (1 - (y - y0) / (y1 - y0))

    lines = []
    for number, (each, points) in enumerate(zip(series, thinned, strict=True), 1):
        if not points:
            continue
        main = running_mean(points) if each.smooth else points
        lines.append(
            Line(
                name=each.name,
                number=number,
                path=_path([(across(x), down(y)) for x, y in main]),
                faint=_path([(across(x), down(y)) for x, y in points]) if each.smooth else "",
                dots="".join(f"M{across(x):.2f} {down(y):.2f}h0" for x, y in points)
                if each.dots or len(points) == 1
                else "",
                shown=[(round(across(x), 3), round(down(y), 3), x, y) for x, y in main],
                last=points[-1][1],
            )
        )
    return Chart(
        title=title,
        unit=unit,
        log=log,
        lines=lines,
        x_ticks=[Tick(at=across(x), text=short(x)) for x in nice_ticks(x0, x1) if x0 <= x <= x1],
        y_ticks=[Tick(at=down(y), text=short(y)) for y in y_values],
        skipped=skipped,
    )


def thin(points: Points, most: int) -> list[tuple[float, float]]:
    """At most `most` points: the mean of each run of neighbours, so that peaks fade but stay."""
    if len(points) <= most:
        return list(points)
    size = math.ceil(len(points) / most)
    groups = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in g) / len(g), sum(y for _, y in g) / len(g)) for g in groups]


def running_mean(points: Points, share: float = 0.03) -> list[tuple[float, float]]:
    """Mean of each point and its neighbours, about `share` of all; centred, so it does not lag."""
    reach = round(share * len(points) / 2)
    sums = [0.0, *itertools.accumulate(y for _, y in points)]
    out = []
    for index, (x, _) in enumerate(points):
        near = min(
            reach, index, len(points) - 1 - index
        )  # the same on both sides, also at the ends
        out.append((x, (sums[index + near + 1] - sums[index - near]) / (2 * near + 1)))
    return out


def nice_ticks(low: float, high: float, most: int = 5) -> list[float]:
    """Round numbers that cover [low, high], at most `most` steps apart."""
    if high <= low:
        return [low]
    rough = (high - low) / most
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(magnitude * m for m in (1, 2, 2.5, 5, 10) if magnitude * m >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten that cover [low, high], and 2 and 5 times them while that stays few."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    if last - first <= 2:
        fine = [m * 10.0**power for power in range(first, last + 1) for m in (1, 2, 5)]
        start = max(value for value in fine if value <= low)
        return [value for value in fine if start <= value <= next(v for v in fine if v >= high)]
    stride = math.ceil((last - first) / 5)
    return [10.0**power for power in range(first, last + stride, stride)]


def short(value: float) -> str:
    """A number as short as an axis needs: 1200 -> '1.2k', 0.0003 -> '3e-4'."""
    size = abs(value)
    if size >= 1e6:
        return f"{value / 1e6:.3g}M"
    if size >= 1e4 or (size >= 1e3 and value % 100 == 0):
        return f"{value / 1e3:.3g}k"
    if 0 < size < 1e-3:
        mantissa, _, power = f"{value:.2e}".partition("e")
        return f"{float(mantissa):g}e{int(power)}"
    return f"{value:.4g}"


def _path(points: Points) -> str:
    return "M" + "L".join(f"{x:.2f} {y:.2f}" for x, y in points)
