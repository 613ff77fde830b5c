"""What a study consists of, and what raters hand back: strict JSON, checked on the way in.

A study is three files: the page that raters see, in which videos have numbers and no names; the
    key, which
says what the numbers mean and stays with whoever runs the study; and one answers file per rater.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field, ValidationError

from vidgen.config.base import Strict
from vidgen.errors import EvaluationError

M = TypeVar("M", bound=Strict)
Side = Literal["left", "right", "same"]
Mark = Literal["1", "2", "3", "4", "5"]


class Question(Strict):
    """One question, asked of every pair and of every single video."""

    id: str
    pair: str
    """Asked of two videos."""
    single: str
    """Asked of one, marked from 1 to 5."""
    low: str
    high: str


# The three things the field asks people: is it real, does it flow, does it make sense.
QUESTIONS = (
    Question(
        id="realism",
        pair="Which looks more realistic?",
        single="How realistic does it look?",
        low="1: not at all",
        high="5: like a real recording",
    ),
    Question(
        id="smoothness",
        pair="Which flows more smoothly, without jumps or inconsistencies?",
        single="Does it flow smoothly?",
        low="1: jumps and breaks",
        high="5: perfectly smoothly",
    ),
    Question(
        id="coherence",
        pair="In which is it clearer what happens?",
        single="Is it clear what happens?",
        low="1: it makes no sense",
        high="5: perfectly clear",
    ),
)


class Video(Strict):
    """A video's meaning."""

    system: str
    """Whose it is."""
    item: str
    """What it was asked to show; videos of one item are compared."""
    sha256: str


class Trial(Strict):
    """One screen of the page."""

    id: str
    kind: Literal["pair", "single"]
    a: str | None = None
    b: str | None = None
    """Videos of a pair; a stands left unless the rater sees the pair flipped."""
    video: str | None = None
    caption: str = ""
    spoil: Literal["a", "b"] | None = None
    """Attention check: this side is blurred, whoever looks must see it."""
    say: bool = False
    """Attention check: the page says what to answer."""
    repeats: str | None = None
    """The pair of this earlier trial once more, to see whether a rater agrees with themselves."""

    @property
    def check(self) -> bool:
        return self.say or self.spoil is not None


class Key(Strict):
    """What the numbers on the page mean."""

    format: Literal[1] = 1
    kind: Literal["vidgen study key"] = "vidgen study key"
    study: str
    title: str
    seed: int
    systems: dict[str, str]
    """Name to url."""
    videos: dict[str, Video]
    trials: tuple[Trial, ...]


class Answer(Strict):
    """What a rater said on one screen."""

    trial: str
    choices: dict[str, Side | Mark]
    """By question; sides for pairs, marks for single videos. May be incomplete."""
    ms: Annotated[float, Field(ge=0)]
    replays: Annotated[int, Field(ge=0)] = 0
    left: str | None = None
    right: str | None = None
    flipped: bool | None = None
    video: str | None = None


class Answers(Strict):
    """One rater's file."""

    format: Literal[1]
    kind: Literal["vidgen study answers"]
    study: str
    rater: Annotated[str, Field(min_length=1)]
    name: str = ""
    started: str | None = None
    finished: str | None = None
    answers: tuple[Answer, ...]


def read_key(path: Path) -> Key:
    """Raises EvaluationError, naming the file and what is wrong with it."""
    return _checked(Key, _json(path), path)


def read_answers(path: Path, key: Key) -> Answers:
    """One rater's answers, checked against the study.

    Raises EvaluationError for another study's answers and for answers the page cannot have made.
    """
    found = _checked(Answers, _json(path), path)
    if found.study != key.study:
        raise EvaluationError(
            f"{path} has answers to study {found.study}", expected=f"study {key.study}"
        )
    trials = {trial.id: trial for trial in key.trials}
    asked = {question.id for question in QUESTIONS}
    for answer in found.answers:
        trial = trials.get(answer.trial)
        if trial is None or not set(answer.choices) <= asked or not _fits(answer, trial):
            raise EvaluationError(
                f"{path}: the answer to '{answer.trial}' does not belong to this study",
                fix="The file was changed by hand or damaged; ask the rater for it again.",
            )
    return found


def is_key(path: Path) -> bool:
    """Whether a JSON file is a study's key."""
    value = _json(path)
    return isinstance(value, dict) and value.get("kind") == "vidgen study key"


def _fits(answer: Answer, trial: Trial) -> bool:
    marks = set(answer.choices.values())
    if trial.kind == "single":
        return answer.video == trial.video and marks <= {"1", "2", "3", "4", "5"}
    shown = (trial.b, trial.a) if answer.flipped else (trial.a, trial.b)
    return (answer.left, answer.right) == shown and marks <= {"left", "right", "same"}


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise EvaluationError(f"no such file: {path}") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise EvaluationError(f"{path} is not JSON: {error}") from None


def _checked(model: type[M], value: Any, path: Path) -> M:
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise EvaluationError(
            f"{path} is not a file of {'answers' if model is Answers else 'a study key'}: "
            f"{where}: {first['msg'].lower()}"
        ) from None
