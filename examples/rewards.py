"""Fine-tune half-trained models by reward, several seeds each; prints the table of the guide.

usage: examples/rewards.py DIR [--only RECIPE ...] [--seeds N] [--set KEY=VALUE ...]

Starts are trained first, once for all seeds; --set holds for the fine-tuning alone. A run that is
there already is not trained again, so the table can be made in several goes. Everything in it is
measured on test clips, which neither training nor the choice of a recipe's settings looked at; but
for the guards and the diversity, which validation clips tell while a run goes on.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from command import vidgen

POINTS = 0.15  # that every seed should gain
RECALL = 0.1  # below the start's, at most


@dataclass(frozen=True, kw_only=True)
class Row:
    """A recipe of the table.

    Attributes:
        start: recipe of what it begins with; half: settings that end it half-trained.
        codec: recipe and settings of what turns videos into the start's tokens, if anything.
        kl: how far it may go, as its learner measures that.
        diversity: of the start's, at least.
        judged: whether caption agreement is what should rise; else the reward itself.
    """

    recipe: str
    family: str
    start: str
    half: tuple[str, ...]
    kl: float
    judged: bool = False
    codec: tuple[str, ...] = ()
    diversity: float = 0.5

    @property
    def videos(self) -> int:
        """Of each test clip, of as many seeds."""
        return 3 if self.judged else 1


ROWS = (
    Row(
        recipe="shapes-flow-reward", family="flow", start="shapes-demo", judged=True, kl=0.05,
        diversity=0.33,  # half of what two real clips of one caption have
        half=("train.steps=1600", "model.sample_steps=8"),  # scored with as many as the run
    ),
    Row(
        recipe="shapes-autoregressive-reward", family="autoregressive", judged=True, kl=0.5,
        codec=("shapes-vae-tokens", "model.shrink=[[2,2,2]]"),  # a quarter of the tokens
        start="shapes-autoregressive", half=("train.steps=400",),
    ),
    Row(
        recipe="shapes-gan-reward", family="gan", start="shapes-gan", kl=0.1,
        half=(
            "model.widths=[48, 24, 12]", "model.coarse=100", "model.coarse_until=100000",
            "model.penalty=10", "optimizer.lr=5e-4", "train.steps=300",
        ),
    ),
    Row(
        recipe="shapes-convgru-reward", family="recurrent", start="shapes-convgru", kl=0.02,
        half=("model.width=32", "model.depth=1", "train.steps=150", "model.truth_until=75"),
    ),
)  # fmt: skip
HEAD = (
    "family", "recipe", "learner", "what should rise", "before", "after, by seed", "KL, at most",
    "diversity, of the start's", "recall before", "after, by seed", "minutes",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """A seed's outcome.

    Attributes:
        kl: the largest of the run; diversity: at its end, of the start's.
        scores: on the test clips, by kind of videos and name.
    """

    learner: str
    minutes: float
    kl: float
    diversity: float
    scores: dict[str, dict[str, float]]


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
        start, shared = asked.folder / f"{row.recipe}-start", list[str]()
        if row.codec:
            codec = asked.folder / f"{row.recipe}-codec"
            _train(row.codec[0], codec, [*row.codec[1:]])
            shared = [f"model.codec.run={codec}"]
        minutes = _train(row.start, start, [*row.half, *shared])
        before = _scores(start, row)
        tuned = [
            _tune(
                row, asked.folder / f"{row.recipe}-{seed}",
                [f"reward.start={start}", f"seed={seed}", *shared, *asked.settings],
            )
            for seed in range(asked.seeds)
        ]  # fmt: skip
        lines.append(_line(row, before, minutes, tuned))
        print(f"{row.recipe}: {lines[-1]}", flush=True)
    print(f"\n| {' | '.join(HEAD)} |\n|{'---|' * len(HEAD)}")
    print("\n".join(lines))


def _tune(row: Row, run: Path, settings: list[str]) -> Tuned:
    minutes = _train(row.recipe, run, settings)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    config = json.loads(vidgen("config", "show", str(run / "config.yaml"), "--json", keep=True))
    return Tuned(
        learner=config["reward"]["learner"],
        minutes=minutes,
        kl=max(line["kl"] for line in lines if "kl" in line),
        diversity=_share(next(line for line in reversed(lines) if "val_reward" in line)),
        scores=_scores(run, row),
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


def _scores(run: Path, row: Row) -> dict[str, dict[str, float]]:
    """By kind of videos and name; start and run are scored in the recipe's way.

    What a judge says is the mean over several videos of each caption.
    """
    record = run / "scores.json"
    if not record.exists():
        told: dict[str, Any] = json.loads(vidgen("config", "show", row.recipe, "--json", keep=True))
        clips, guidance = told["evaluate"]["clips"], told["sampling"]["guidance"]
        once = (
            "evaluate", str(run), "--clips", str(clips), "--guidance", str(guidance),
            "--extractor", "st-stats", "--json",
        )  # fmt: skip
        found = [vidgen(*once, "--seed", str(seed), keep=True) for seed in range(row.videos)]
        record.write_text(json.dumps([json.loads(each)["scores"] for each in found]))
    every: dict[str, dict[str, list[float]]] = {}
    for scores in json.loads(record.read_text()):
        for score in scores:
            kind = every.setdefault(score["subject"]["kind"], {})
            kind.setdefault(score["name"], []).append(score["value"])
    return {
        kind: {name: statistics.mean(values) for name, values in named.items()}
        for kind, named in every.items()
    }


def _line(
    row: Row, start: dict[str, dict[str, float]], start_minutes: float, tuned: list[Tuned]
) -> str:
    if row.judged:
        before = [_agreement(start["generated"])] * len(tuned)
        after = [_agreement(one.scores["generated"]) for one in tuned]
    else:
        before = [one.scores["the start"]["reward"] for one in tuned]
        after = [one.scores["generated"]["reward"] for one in tuned]
    gains = [now - then for then, now in zip(before, after, strict=True)]
    kl, diversity = [one.kl for one in tuned], [one.diversity for one in tuned]
    recall = start["generated"]["recall_st-stats"]
    least = max(0.0, recall - RECALL)
    recalls = [one.scores["generated"]["recall_st-stats"] for one in tuned]
    minutes = [one.minutes for one in tuned]
    cells = [
        row.family,
        f"`{row.recipe}`",
        tuned[0].learner,
        "caption agreement" if row.judged else "its reward",
        f"{statistics.mean(before):.1%}",
        _goal(after, ".1%", f"+{100 * POINTS:g} points", all(gain >= POINTS for gain in gains)),
        _goal(kl, ".3f", f"<= {row.kl:g}", all(one <= row.kl for one in kl)),
        _goal(diversity, ".2f", f">= {row.diversity:g}", min(diversity) >= row.diversity),
        f"{recall:.2f}",
        _goal(recalls, ".2f", f">= {least:.2f}", min(recalls) >= least),
        f"{start_minutes:.1f}, {_each(minutes, '.1f')}",
    ]
    return f"| {' | '.join(cells)} |"


def _goal(values: list[float], form: str, goal: str, met: bool) -> str:
    return f"{_each(values, form)} ({goal}: {'met' if met else 'missed'})"


def _each(values: Iterable[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


def _agreement(scores: dict[str, float]) -> float:
    """Mean over the attributes of a caption."""
    return statistics.mean(
        value for name, value in scores.items() if name.endswith("_right") and name != "all_right"
    )


def _share(line: dict[str, float]) -> float:
    """Of the start's diversity; 1 where that is nothing, as of a model with one answer."""
    first = line["val_diversity_start"]
    return line["val_diversity"] / first if first else 1.0


if __name__ == "__main__":
    main()
