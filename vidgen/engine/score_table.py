"""Scores as tables: those of one protocol together, a row per score, a column per kind of video."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from vidgen.engine.compare import Comparison
from vidgen.engine.evaluation import Evaluation
from vidgen.metrics.features.table import EXTRACTORS
from vidgen.metrics.score import Score

ARROWS = {"higher": "↑", "lower": "↓"}  # else: good when like the real clips
TITLES = {
    "validation_loss": "Validation loss",
    "psnr": "PSNR of the continuation",
    "ssim": "SSIM of the continuation",
    "fid": "FID",
    "kid": "KID",
    "is": "Inception score",
    "fvd": "FVD",
    "mse": "MSE of the continuation",
    "mse_of_baseline": "MSE over that of the last frame",
}
MAIN = {"validation_loss", "mse", "psnr", "ssim", "temporal_consistency", "fid", "fvd"}


@dataclass(frozen=True, kw_only=True)
class ScoreTable:
    """Scores of one protocol.

    Attributes:
        protocol: in words.
        kinds: columns, such as 'generated' and 'ground truth'.
        rows: title and, per kind, the score if there is one.
    """

    protocol: str
    kinds: list[str]
    rows: list[tuple[str, list[Score | None]]]


def score_tables(scores: Sequence[Score]) -> list[ScoreTable]:
    """Group scores by protocol, keeping their order."""
    groups: dict[str, list[Score]] = {}
    for score in scores:
        groups.setdefault(str(score.protocol), []).append(score)
    tables = []
    for protocol, members in groups.items():
        kinds = list(dict.fromkeys(score.subject.kind for score in members))
        by_place = {(score.name, score.subject.kind): score for score in members}
        rows = [
            (
                title(next(s for s in members if s.name == name)),
                [by_place.get((name, k)) for k in kinds],
            )
            for name in dict.fromkeys(score.name for score in members)
        ]
        tables.append(ScoreTable(protocol=protocol, kinds=kinds, rows=rows))
    return tables


def title(score: Score) -> str:
    """A score's name for people, with an arrow to where it is better.

    A score named after its extractor keeps that name as it is; see features/table.py.
    """
    plain = score.name.replace("_", " ").capitalize()
    name = TITLES.get(score.name, score.name if _extractor(score) else plain)
    return f"{name} {ARROWS.get(score.better, '≈')}"


def main_score(score: Score) -> bool:
    """Whether it is one to look at first; the others say why it is what it is."""
    name = score.name
    return name in MAIN or name.startswith(("fd_", "perceptual_")) or name.endswith("all_right")


def _extractor(score: Score) -> str | None:
    """The extractor a score is named after."""
    return next((name for name in EXTRACTORS if name in score.name.split("_")), None)


def print_evaluation(evaluation: Evaluation, console: Console) -> None:
    """Print scores, their protocols and remarks."""
    parts: list[RenderableType] = []
    for group in score_tables(evaluation.scores):
        table = Table("score", *group.kinds, box=None, pad_edge=False, header_style="dim")
        for name, cells in group.rows:
            table.add_row(name, *[_cell(cell) for cell in cells])
        parts += [table, Text(f"protocol: {group.protocol}\n", style="dim")]
    parts += [Text(f"note: {note}") for note in evaluation.notes]
    console.print(Group(*parts))


def print_comparison(found: Sequence[Comparison], console: Console) -> None:
    """Print two runs side by side, with what chance leaves of the difference."""
    table = Table(
        "score",
        "this run",
        "other run",
        "difference",
        "95 % interval",
        "",
        box=None,
        pad_edge=False,
    )
    for each in found:
        scale = 100.0 if each.mine.unit == "ratio" else 1.0
        ends = "-"
        if each.interval is not None:
            ends = " to ".join(f"{scale * end:+.3g}" for end in each.interval)
        value = f"{scale * each.difference:+.4g}"
        mine, theirs = each.mine.text()[0], each.theirs.text()[0]
        table.add_row(title(each.mine), mine, theirs, value, ends, each.verdict)
    console.print(table, width=max(console.width, 100), crop=False)


def _cell(score: Score | None) -> Text:
    if score is None:
        return Text("-", style="dim")
    value, interval = score.text()
    return Text.assemble((value, "bold"), (f"  {interval}" if interval else "", "dim"))
