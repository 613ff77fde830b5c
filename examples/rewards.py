"""Fine-tune half-trained models by reward, several seeds each; prints the table of the guide.

usage: examples/rewards.py DIR [--only RECIPE ...] [--seeds N] [--set KEY=VALUE ...]

Starts are trained first, once for all seeds; --set holds for the fine-tuning alone. A run that is
there already is not trained again, so the table can be made in several goes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import vidgen


@dataclass(frozen=True, kw_only=True)
class Row:
    """A recipe of the table.

    Attributes:
        start: recipe of what it begins with; half: settings that end it half-trained.
    """

    recipe: str
    family: str
    start: str
    half: tuple[str, ...]


ROWS = (
    Row(
        recipe="shapes-flow-reward", family="flow", start="shapes-demo",
        half=("train.steps=1200", "model.sample_steps=8"),  # scored with as many as the run
    ),
)  # fmt: skip
HEAD = (
    "family", "recipe", "learner", "reward before", "after", "caption agreement before", "after",
    "diversity", "recall before", "after", "moved", "minutes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A seed's outcome: the last validation's numbers, and scores on the test clips."""

    learner: str
    minutes: float
    last: dict[str, float]
    scores: dict[str, float]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], metavar="RECIPE")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    asked = parser.parse_args()
    known = {row.recipe: row for row in ROWS}
    if unknown := set(asked.only) - set(known):
        parser.error(f"no recipe {min(unknown)} in the table; known: {', '.join(known)}")
    lines = []
    for row in ROWS:
        if asked.only and row.recipe not in asked.only:
            continue
        start = asked.folder / f"{row.recipe}-start"
        _train(row.start, start, [*row.half])
        before = _scores(start, _guidance(row.recipe))
        tuned = [
            _tune(row, start, asked.folder / f"{row.recipe}-{seed}", seed, asked.settings)
            for seed in range(asked.seeds)
        ]
        lines.append(_line(row, before, tuned))
        print(f"{row.recipe}: {lines[-1]}", flush=True)
    print(f"\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    print("\n".join(lines))


def _tune(row: Row, start: Path, run: Path, seed: int, settings: list[str]) -> Tuned:
    minutes = _train(row.recipe, run, [f"reward.start={start}", f"seed={seed}", *settings])
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    config = json.loads(vidgen("config", "show", str(run / "config.yaml"), "--json", keep=True))
    return Tuned(
        learner=config["reward"]["learner"],
        minutes=minutes,
        last=next(line for line in reversed(lines) if "val_reward" in line),
        scores=_scores(run, _guidance(row.recipe)),
    )


def _train(recipe: str, run: Path, settings: list[str]) -> float:
    """Minutes it took, of which the run keeps the record."""
    record = run / "minutes.json"
    if record.exists():
        return float(json.loads(record.read_text()))
    began = time.time()
    sets = [part for each in [f"run={run}", *settings] for part in ("--set", each)]
    vidgen("train", recipe, *sets)
    minutes = (time.time() - began) / 60
    record.write_text(json.dumps(minutes))
    return minutes


def _guidance(recipe: str) -> float:
    """Start and run are scored with the same guidance."""
    told: dict[str, Any] = json.loads(vidgen("config", "show", recipe, "--json", keep=True))
    return float(told["sampling"]["guidance"])


def _scores(run: Path, guidance: float) -> dict[str, float]:
    record = run / "scores.json"
    if not record.exists():
        record.write_text(
            vidgen("evaluate", str(run), "--guidance", str(guidance), "--json", keep=True)
        )
    return {
        score["name"]: score["value"]
        for score in json.loads(record.read_text())["scores"]
        if score["subject"]["kind"] == "generated"
    }


def _line(row: Row, before: dict[str, float], tuned: list[Tuned]) -> str:
    def each(values: list[float], form: str) -> str:
        return ", ".join(format(value, form) for value in values)

    last, scores = [one.last for one in tuned], [one.scores for one in tuned]
    judged = "all_right" in before
    cells = [
        row.family,
        f"`{row.recipe}`",
        tuned[0].learner,
        format(statistics.mean(one["val_reward_start"] for one in last), ".3f"),
        each([one["val_reward"] for one in last], ".3f"),
        format(_agreement(before), ".1%") if judged else "",
        each([_agreement(one) for one in scores], ".1%") if judged else "",
        each([_share(one, "val_diversity") for one in last], ".2f"),
        format(before["recall_st-stats"], ".2f"),
        each([one["recall_st-stats"] for one in scores], ".2f"),
        each([one["val_moved"] for one in last], ".3f"),
        each([one.minutes for one in tuned], ".1f"),
    ]
    return f"| {' | '.join(cells)} |"


def _agreement(scores: dict[str, float]) -> float:
    """Mean over the attributes of a caption."""
    return statistics.mean(
        value for name, value in scores.items() if name.endswith("_right") and name != "all_right"
    )


def _share(line: dict[str, float], name: str) -> float:
    """Of what the start has; 1 where that is nothing, as of a model with one answer."""
    first = line[f"{name}_start"]
    return line[name] / first if first else 1.0


if __name__ == "__main__":
    main()
