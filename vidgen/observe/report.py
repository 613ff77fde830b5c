"""Runs and data sets on self-contained HTML pages: what is on them, and how it becomes text.

The page loads nothing: style, script, curves and videos are inside, and its content security policy
forbids everything else. Whatever comes from data (captions, names, paths) is escaped.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from importlib import resources

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from vidgen.observe.curves import Chart, short


@dataclass(frozen=True, kw_only=True)
class Fact:
    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Video:
    """An MP4 file's bytes, and a title where the page has none for it."""

    data: bytes
    title: str = ""

    @property
    def base64(self) -> str:
        return base64.b64encode(self.data).decode("ascii")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge read out of a generated video, and whether it was asked for."""

    text: str
    right: bool


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A real clip and what the model made of its condition."""

    real: Video
    generated: Video
    caption: str = ""
    verdicts: list[Verdict] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A score as text; `bar` is percent of a full bar, for ratios."""

    value: str
    interval: str = ""
    bar: float | None = None


@dataclass(frozen=True, kw_only=True)
class ScoreRow:
    title: str
    cells: list[Cell | None]


@dataclass(frozen=True, kw_only=True)
class ScoreGroup:
    """Scores of one protocol: a row per score, a column per kind of video."""

    protocol: str
    kinds: list[str]
    rows: list[ScoreRow]


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A plain table of texts, with a remark below it."""

    head: list[str]
    rows: list[list[str]]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Histogram:
    """How often a number takes which values; `bars` are percent of the tallest."""

    name: str
    bars: list[float]
    low: str
    middle: str
    high: str


@dataclass(frozen=True, kw_only=True)
class DataSection:
    """What is in a data set."""

    facts: list[Fact]
    splits: Grid | None = None
    histograms: list[Histogram] = field(default_factory=list)
    counts: list[Grid] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class DataPage:
    """Everything on a data set's page."""

    name: str
    url: str
    data: DataSection
    stages: Grid
    diversity: Grid
    rejects: Grid | None
    clips: list[Video]
    made_with: str
    made_at: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """Everything on a run's page."""

    name: str
    url: str
    description: str
    facts: list[Fact]
    warnings: list[str]
    pairs: list[Pair]
    pairs_note: str
    score_groups: list[ScoreGroup]
    score_notes: list[str]
    score_charts: list[Chart]
    more_score_charts: list[Chart]
    seeds: Grid | None
    speed: Grid | None
    verdict: str
    charts: list[Chart]
    before_after: list[Video]
    before_after_note: str
    samples: list[Video]
    sample_captions: list[str]
    data: DataSection
    config: str
    versions: list[Fact]
    made_with: str
    made_at: str


@dataclass(frozen=True, kw_only=True)
class Column:
    """A run on a page of several."""

    name: str
    url: str
    facts: list[Fact]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """A row of scores: a cell per run, and what is sure about each but the first.

    Attributes:
        verdicts: per run 'better', 'worse' or 'unclear' than the first; '' for the first.
        differences: per run the difference to the first with its interval, '' where unknown.
    """

    title: str
    cells: list[Cell | None]
    verdicts: list[str]
    differences: list[str]


@dataclass(frozen=True, kw_only=True)
class ContestGroup:
    """Scores of one protocol."""

    protocol: str
    rows: list[Contest]


@dataclass(frozen=True, kw_only=True)
class Likes:
    """Videos for one condition: the real clip, then each run's."""

    caption: str
    videos: list[Video]


@dataclass(frozen=True, kw_only=True)
class ComparisonPage:
    """Everything on a page of several runs."""

    columns: list[Column]
    differing: Grid | None
    groups: list[ContestGroup]
    notes: list[str]
    seeds: Grid | None
    likes: list[Likes]
    likes_note: str
    charts: list[Chart]
    speed: Grid | None
    made_with: str
    made_at: str


def render(page: Page) -> str:
    """A run's page as HTML."""
    return fill("report.html", page)


def render_data(page: DataPage) -> str:
    """A data set's page as HTML."""
    return fill("dataset.html", page)


def render_comparison(page: ComparisonPage) -> str:
    """The page of several runs as HTML."""
    return fill("comparison.html", page)


def fill(template: str, page: object, *, also: str = "") -> str:
    """A page as HTML, with the style and script of all pages and those named `also`."""
    environment = Environment(
        loader=PackageLoader("vidgen.observe"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    folder = resources.files("vidgen.observe") / "templates"
    names = ["report", also] if also else ["report"]

    def text(suffix: str) -> Markup:
        files = [folder / f"{name}.{suffix}" for name in names]
        return Markup("".join(file.read_text(encoding="utf-8") for file in files))

    return environment.get_template(template).render(
        page=page, style=text("css"), script=text("js")
    )
