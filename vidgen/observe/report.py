"""A run on one self-contained HTML page: what is on it, and how it becomes text.

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
    charts: list[Chart]
    samples: list[Video]
    sample_captions: list[str]
    data: list[Fact]
    config: str
    versions: list[Fact]
    made_with: str
    made_at: str


def render(page: Page) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("vidgen.observe"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["short"] = short
    folder = resources.files("vidgen.observe") / "templates"
    return environment.get_template("report.html").render(
        page=page,
        style=Markup((folder / "report.css").read_text(encoding="utf-8")),
        script=Markup((folder / "report.js").read_text(encoding="utf-8")),
    )
