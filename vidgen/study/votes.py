"""What raters hand back, without those who did not look: votes on pairs, marks of single videos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vidgen.errors import EvaluationError
from vidgen.study.model import Answers, Key, Trial, is_key, read_answers, read_key


@dataclass(frozen=True, kw_only=True)
class Vote:
    """One answer to one question about a pair.

    Attributes:
        one, other: systems.
        videos: theirs, by the key's numbers.
        share: of `one`: 1 won, 0 lost, 0.5 the same.
    """

    rater: str
    trial: str
    one: str
    other: str
    videos: tuple[str, str]
    share: float


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """One mark from 1 to 5."""

    rater: str
    trial: str
    system: str
    mark: float


@dataclass(frozen=True, kw_only=True)
class Ballot:
    """The answers to a study that count.

    Attributes:
        raters: who counts, by id.
        dropped: who does not, as they are called, and why.
    """

    key: Key
    raters: dict[str, Answers]
    dropped: dict[str, str]
    notes: list[str]

    def votes(self, question: str) -> list[Vote]:
        """What counts: first showings of pairs, no checks."""
        raters, key, systems = self.raters, self.key, list(self.key.systems)

        def place(video: str) -> int:
            return systems.index(key.videos[video].system)

        trials = {t.id: t for t in key.trials if t.kind == "pair" and not t.check and not t.repeats}
        votes = []
        for rater, answers in raters.items():
            for answer in answers.answers:
                choice = answer.choices.get(question)
                if answer.trial not in trials or choice is None:
                    continue
                assert answer.left is not None
                assert answer.right is not None
                share = {"left": 1.0, "right": 0.0}.get(choice, 0.5)
                sides = [(answer.left, share), (answer.right, 1 - share)]
                (first, share), (second, _) = sorted(sides, key=lambda side: place(side[0]))
                votes.append(
                    Vote(
                        rater=rater,
                        trial=answer.trial,
                        one=key.videos[first].system,
                        other=key.videos[second].system,
                        videos=(first, second),
                        share=share,
                    )
                )
        return votes

    def opinions(self, question: str) -> list[Opinion]:
        """Marks of single videos."""
        return [
            Opinion(
                rater=rater,
                trial=answer.trial,
                system=self.key.videos[answer.video].system,
                mark=float(answer.choices[question]),
            )
            for rater, answers in self.raters.items()
            for answer in answers.answers
            if answer.video is not None and question in answer.choices
        ]


def read_ballot(files: Sequence[Path], *, key: Path | None = None, allow_failed: int = 0) -> Ballot:
    """Read answers and leave out who failed the attention checks; arguments as `score`'s.

    Raises EvaluationError: no key, no answers, another study's answers, damaged files, nobody left.
    """
    found, answers = _read(files, key)
    notes: list[str] = []
    raters = _latest(answers, notes)
    dropped = {r: why for r, a in raters.items() if (why := _fault(a, found, allow_failed))}
    kept = {rater: a for rater, a in raters.items() if rater not in dropped}
    if not kept:
        raise EvaluationError(
            f"none of the {len(raters)} raters is left: {_reasons(dropped)}",
            fix="Ask more people, or allow failed checks with --allow-failed.",
        )
    named = {called(raters[rater], rater): why for rater, why in dropped.items()}
    return Ballot(key=found, raters=kept, dropped=named, notes=notes)


def _read(files: Sequence[Path], key: Path | None) -> tuple[Key, list[Answers]]:
    keys = [key] if key else [path for path in files if is_key(path)]
    if not keys:
        around = (folder / "key.json" for path in files for folder in path.resolve().parents[:2])
        keys = list(dict.fromkeys(path for path in around if path.is_file()))
    if not keys:
        raise EvaluationError(
            "no key.json among the files, beside them or one folder above",
            fix="Give the key that `vidgen study create` wrote: --key STUDY/key.json.",
        )
    if len(keys) > 1:
        raise EvaluationError(
            f"several studies' keys: {', '.join(map(str, keys))}", fix="Choose one with --key."
        )
    found = read_key(keys[0])
    answers = [read_answers(path, found) for path in files if path != keys[0] and not is_key(path)]
    if not answers:
        raise EvaluationError("no raters' answers among the files")
    return found, answers


def _latest(answers: list[Answers], notes: list[str]) -> dict[str, Answers]:
    """One file per rater: of several, the one with most answers."""
    best: dict[str, Answers] = {}
    for one in answers:
        before = best.get(one.rater)
        if before is not None:
            notes.append(f"{called(one, one.rater)} is in two files: the fuller one counts")
        if before is None or len(one.answers) > len(before.answers):
            best[one.rater] = one
    return best


def called(answers: Answers, rater: str) -> str:
    """A rater in words."""
    return f"{answers.name} ({rater})" if answers.name else rater


def _fault(answers: Answers, key: Key, allowed: int) -> str:
    """Why a rater does not count, or ''."""
    given = {answer.trial: answer for answer in answers.answers}
    checks = [trial for trial in key.trials if trial.check]
    seen = [trial for trial in checks if trial.id in given]
    failed = sum(
        not _passes(trial, given[trial.id].choices, given[trial.id].flipped) for trial in seen
    )
    if failed > allowed:
        return f"failed {failed} of {len(seen)} attention checks"
    if checks and not seen:
        return "stopped before the first attention check"
    return ""


def _passes(trial: Trial, choices: dict[str, Any], flipped: bool | None) -> bool:
    if trial.say:
        told = "right" if flipped else "left"
        return set(choices.values()) == {told}
    clean = "b" if trial.spoil == "a" else "a"
    side = "left" if (clean == "a") != bool(flipped) else "right"
    # Nobody takes a blurred copy for more real than the clip, or finds it clearer.
    return choices.get("realism") == side and choices.get("coherence") in (side, "same")


def _reasons(dropped: dict[str, str]) -> str:
    return "; ".join(sorted(set(dropped.values())))
