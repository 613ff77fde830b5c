"""What several evaluations of a run tell together: scores over steps, and how far seeds differ."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from vidgen.engine.evaluation import Evaluation
from vidgen.metrics.score import Score


@dataclass(frozen=True, kw_only=True)
class Course:
    """One score of one protocol, measured at several steps.

    Attributes:
        score: the newest of them.
        points: (step, mean over seeds), in order of steps.
    """

    score: Score
    points: list[tuple[float, float]]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """One score of one step and protocol, measured with several seeds of the noise.

    Attributes:
        score: one of them.
        values: one per seed.
    """

    score: Score
    values: list[float]

    @property
    def mean(self) -> float:
        return fmean(self.values)

    @property
    def deviation(self) -> float:
        """Standard deviation over seeds."""
        return stdev(self.values)


def courses(evaluations: Sequence[Evaluation]) -> list[Course]:
    """Scores that were measured at two steps or more."""
    found = []
    for group in _alike(evaluations):
        by_step: dict[int, list[float]] = {}
        for step, score in group:
            by_step.setdefault(step, []).append(score.value)
        if len(by_step) > 1:
            points = [(float(step), fmean(values)) for step, values in sorted(by_step.items())]
            found.append(Course(score=group[-1][1], points=points))
    return found


def spreads(evaluations: Sequence[Evaluation]) -> list[Spread]:
    """Scores that were measured with two seeds or more; of each, the newest such step."""
    found = []
    for group in _alike(evaluations):
        by_step: dict[int, dict[int | None, Score]] = {}
        for step, score in group:
            by_step.setdefault(step, {})[score.subject.seed] = score
        several = [seeds for _, seeds in sorted(by_step.items()) if len(seeds) > 1]
        if several:
            scores = list(several[-1].values())
            found.append(Spread(score=scores[0], values=[score.value for score in scores]))
    return found


def _alike(evaluations: Sequence[Evaluation]) -> Iterator[list[tuple[int, Score]]]:
    """Scores of generated videos that compare with each other, with their steps."""
    groups: dict[tuple[object, ...], list[tuple[int, Score]]] = {}
    for evaluation in evaluations:
        for score in evaluation.scores:
            if score.subject.kind == "generated":
                how = (score.name, score.protocol, score.subject.guidance)
                groups.setdefault(how, []).append((evaluation.step, score))
    yield from groups.values()
