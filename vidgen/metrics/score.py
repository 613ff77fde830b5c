"""A score is a number with its protocol; without equal protocols two numbers do not compare."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from vidgen.errors import EvaluationError


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How something was measured. Scores compare only when all of it is equal.

    Attributes:
        n: videos measured.
        frames, height, width: T, H, W of each.
        fps: frames per second they stand for.
        resize: how source frames came to that size.
        data: the data set's identity: a digest of its manifest.
        split: the part of it that was used.
        selection: which clips of the split, in words.
        conditions: what the model was told, in the order of Condition's fields.
        extractor: what looked at the pixels, with its version; '' for plain pixel arithmetic.
    """

    n: int
    frames: int
    height: int
    width: int
    fps: float
    resize: str
    data: str
    split: str
    selection: str = "all"
    conditions: tuple[str, ...] = ()
    extractor: str = ""

    def __str__(self) -> str:
        """One line for tables and pages."""
        rate = f"{self.fps:g} fps"
        parts = [f"N={self.n}", f"{self.frames}x{self.height}x{self.width}", rate, self.resize]
        parts += [f"{self.split} of {self.data}", self.selection]
        parts += [f"given {' + '.join(self.conditions) or 'nothing'}", self.extractor]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What was measured: the videos' maker and settings. Comparing different subjects is the point.

    Attributes:
        kind: 'generated', 'ground truth', or a named baseline such as 'first frame repeated'.
        run: the run folder's url.
        step: the checkpoint's step.
        weights: 'ema' or 'raw'.
        guidance: classifier-free guidance scale.
        seed: of the generated videos.
    """

    kind: str = "generated"
    run: str = ""
    step: int | None = None
    weights: str = "ema"
    guidance: float | None = None
    seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Score:
    """One measured number.

    Attributes:
        name: what it is; the same name always means the same computation.
        value: the number; never NaN or infinite.
        better: which way is better: higher, lower, or like real.
        unit: 'dB', 'ratio', or '' for none.
        interval: 95 % interval, when one is known.
        subject, protocol: what was measured, and how.
    """

    name: str
    value: float
    better: str = "higher"
    unit: str = ""
    interval: tuple[float, float] | None = None
    subject: Subject = field(default_factory=Subject)
    protocol: Protocol

    def __post_init__(self) -> None:
        if not abs(self.value) < float("inf"):  # also refuses NaN
            raise EvaluationError(
                f"{self.name} came out as {self.value} for {self.subject.kind} videos",
                fix="Look at the videos: a model that diverged makes such numbers.",
            )

    def minus(self, other: Score) -> float:
        """This value minus the other's. Raises EvaluationError unless they compare."""
        check_comparable(self, other)
        return self.value - other.value

    def text(self) -> tuple[str, str]:
        """Value and interval for people: ('96.9 %', '89.3 to 99.1') or ('21.5 dB', '')."""
        scale, unit = (100.0, "%") if self.unit == "ratio" else (1.0, self.unit)
        show = "{:.1f}" if self.unit == "ratio" else "{:.4g}"
        value = f"{show.format(scale * self.value)} {unit}".rstrip()
        if self.interval is None:
            return value, ""
        return value, " to ".join(show.format(scale * end) for end in self.interval)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Score:
        """Read back what `to_json` wrote. Raises EvaluationError if it is something else."""
        try:
            fields = dict(value)
            protocol = dict(fields.pop("protocol"))
            protocol["conditions"] = tuple(protocol["conditions"])
            subject = Subject(**fields.pop("subject"))
            interval = fields.pop("interval")
            return cls(
                **fields,
                interval=None if interval is None else (interval[0], interval[1]),
                subject=subject,
                protocol=Protocol(**protocol),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise EvaluationError(
                f"not a stored score: {error}", fix="Run `vidgen evaluate` again with this version."
            ) from None


def check_comparable(one: Score, other: Score) -> None:
    """Raise EvaluationError, naming what differs, unless both were measured the same way."""
    if one.name != other.name:
        raise EvaluationError(f"'{one.name}' and '{other.name}' are different scores")
    mine, theirs = dataclasses.asdict(one.protocol), dataclasses.asdict(other.protocol)
    differing = [
        f"{key} ({mine[key]!r} and {theirs[key]!r})" for key in mine if mine[key] != theirs[key]
    ]
    if differing:
        raise EvaluationError(
            f"{one.name} of two different protocols does not compare: {', '.join(differing)}",
            fix="Evaluate both the same way.",
        )
