"""A study's result in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidgen.study.score import Estimate, Interval, StudyResult


def print_result(result: StudyResult, console: Console) -> None:
    """Print who counted, then win rates, ranking and opinion per question."""
    console.print(Text(f"{result.title} (study {result.study})", style="bold"))
    console.print(
        f"{_people(len(result.raters))} counted: {', '.join(result.raters)}", markup=False
    )
    for rater, why in result.dropped.items():
        console.print(f"dropped: {rater}: {why}", markup=False)
    for note in result.notes:
        console.print(f"note: {note}", markup=False)
    if result.consistency is not None:
        console.print(f"repeated pairs answered alike: {result.consistency:.0%}")
    for question in result.questions:
        console.print()
        console.print(Text(question.question.capitalize(), style="bold"))
        if question.contests:
            table = Table(
                "preferred", "over", "win rate", "won/same/lost", box=None, pad_edge=False
            )
            for contest in question.contests:
                table.add_row(
                    contest.one,
                    contest.other,
                    _share(contest.rate, contest.interval),
                    f"{contest.wins}/{contest.ties}/{contest.losses}",
                )
            console.print(table)
        table = Table("", "strength (Elo)", "mean opinion (1 to 5)", box=None, pad_edge=False)
        for name in question.ranking or question.opinion:
            strength, opinion = question.ranking.get(name), question.opinion.get(name)
            table.add_row(name, _number(strength, "+.0f"), _number(opinion, ".2f"))
        console.print(table)
        agreement = [
            f"{what} {value:.2f}"
            for what, value in (("choices", question.pair_alpha), ("marks", question.mark_alpha))
            if value is not None
        ]
        if agreement:
            console.print(f"rater agreement (Krippendorff's alpha): {', '.join(agreement)}")


def _people(count: int) -> str:
    return f"{count} rater" if count == 1 else f"{count} raters"


def _share(rate: float, interval: Interval) -> Text:
    low, high = interval
    return Text.assemble((f"{rate:.0%}", "bold"), (f"  {low:.0%} to {high:.0%}", "dim"))


def _number(estimate: Estimate | None, form: str) -> Text:
    if estimate is None:
        return Text("-", style="dim")
    value = Text(f"{estimate.value:{form}}", style="bold")
    if estimate.interval:
        low, high = estimate.interval
        value.append(f"  {low:{form}} to {high:{form}}", style="not bold dim")
    return value
