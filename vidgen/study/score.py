"""`vidgen study score`: raters' files to win rates, a ranking, opinion scores and agreement."""

from __future__ import annotations

import itertools
import random
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

from vidgen.metrics.interval import mean_interval, wilson
from vidgen.study.consent import alpha, nominal, squared
from vidgen.study.model import QUESTIONS, Answers, Key
from vidgen.study.ranking import bradley_terry
from vidgen.study.votes import Opinion, Vote, called, read_ballot

ROUNDS = 1000
Interval = tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Contest:
    """Two systems against each other; `rate` counts a tie as half a win for each."""

    one: str
    other: str
    wins: int
    ties: int
    losses: int
    rate: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval."""

    value: float
    interval: Interval | None
    n: int


@dataclass(frozen=True, kw_only=True)
class QuestionResult:
    """What came out for one question.

    Attributes:
        contests: for every two systems that met.
        ranking: Bradley-Terry strength by system, strongest first, Elo scale, mean 0.
        opinion: mean opinion score by system, 1 to 5.
        pair_alpha, mark_alpha: Krippendorff's alpha; None with fewer than two raters.
    """

    question: str
    contests: list[Contest]
    ranking: dict[str, Estimate]
    opinion: dict[str, Estimate]
    pair_alpha: float | None
    mark_alpha: float | None


@dataclass(frozen=True, kw_only=True)
class StudyResult:
    """Everything a study found.

    Attributes:
        raters: who counted.
        dropped: who did not, and why.
        consistency: share of repeated pairs that a rater answered alike both times; None without
            any.
    """

    study: str
    title: str
    systems: dict[str, str]
    raters: list[str]
    dropped: dict[str, str]
    notes: list[str]
    consistency: float | None
    questions: list[QuestionResult] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score(
    files: Sequence[Path], *, key: Path | None = None, allow_failed: int = 0, seed: int = 0
) -> StudyResult:
    """Score a study.

    Args:
        files: raters' answers; the key may be among them.
        key: the study's key.json; default: the one among the files, beside them or one folder
            above.
        allow_failed: attention checks a rater may fail and still count.
        seed: of the bootstrap.

    Raises EvaluationError: no key, no answers, another study's answers, damaged files, nobody left.
    """
    ballot = read_ballot(files, key=key, allow_failed=allow_failed)
    found, kept = ballot.key, ballot.raters
    notes = list(ballot.notes)
    for rater, one in kept.items():
        if not one.finished:
            asked = len(found.trials)
            notes.append(f"{called(one, rater)} stopped after {len(one.answers)} of {asked}")
    results = []
    for question in QUESTIONS:
        votes, opinions = ballot.votes(question.id), ballot.opinions(question.id)
        results.append(_result(question.id, votes, opinions, found, seed))
    return StudyResult(
        study=found.study,
        title=found.title,
        systems=found.systems,
        raters=[called(one, rater) for rater, one in kept.items()],
        dropped=ballot.dropped,
        notes=notes,
        consistency=_consistency(kept, found),
        questions=results,
    )


def _result(
    question: str, votes: list[Vote], opinions: list[Opinion], key: Key, seed: int
) -> QuestionResult:
    systems = list(key.systems)
    contests = []
    for one, other in itertools.combinations(systems, 2):
        met = [vote for vote in votes if (vote.one, vote.other) == (one, other)]
        if met:
            contests.append(_contest(met, seed))
    strengths = bradley_terry(systems, _wins(votes)) if votes else {}
    spreads = _resampled(
        votes, lambda sample: bradley_terry(systems, _wins(sample)) if sample else {}, seed
    )
    ranking = {
        name: Estimate(
            value=value,
            interval=_ends([s[name] for s in spreads if name in s]),
            n=sum(name in (vote.one, vote.other) for vote in votes),
        )
        for name, value in sorted(strengths.items(), key=lambda item: -item[1])
    }
    opinion = {}
    for name in systems:
        own = [o for o in opinions if o.system == name]
        if own:
            means = _resampled(own, lambda sample: fmean(o.mark for o in sample), seed)
            marks = [o.mark for o in own]
            wide = _wider(mean_interval(marks), _ends(means), within=(1, 5))
            opinion[name] = Estimate(value=fmean(marks), interval=wide, n=len(own))
    return QuestionResult(
        question=question,
        contests=contests,
        ranking=ranking,
        opinion=opinion,
        pair_alpha=alpha(_by_trial(votes, lambda vote: vote.share), nominal),
        mark_alpha=alpha(_by_trial(opinions, lambda opinion: opinion.mark), squared),
    )


def _contest(votes: list[Vote], seed: int) -> Contest:
    shares = [vote.share for vote in votes]
    rate = fmean(shares)
    spread = _resampled(votes, lambda sample: fmean(v.share for v in sample), seed)
    # Wilson's interval takes the answers for independent; those of one rater, or about one clip,
    # are not, which the bootstrap sees. With few raters the bootstrap in turn is too sure.
    wide = _wider(wilson(sum(shares), len(shares)), _ends(spread), within=(0, 1))
    assert wide is not None
    return Contest(
        one=votes[0].one,
        other=votes[0].other,
        wins=shares.count(1),
        ties=shares.count(0.5),
        losses=shares.count(0),
        rate=rate,
        interval=wide,
    )


def _wins(votes: Sequence[Vote]) -> dict[tuple[str, str], float]:
    wins: dict[tuple[str, str], float] = defaultdict(float)
    for vote in votes:
        wins[vote.one, vote.other] += vote.share
        wins[vote.other, vote.one] += 1 - vote.share
    return wins


def _consistency(raters: dict[str, Answers], key: Key) -> float | None:
    """Share of questions answered alike when a pair came back with its sides exchanged."""
    repeats = {trial.id: trial.repeats for trial in key.trials if trial.repeats}
    alike = []
    for answers in raters.values():
        given = {answer.trial: answer for answer in answers.answers}
        for again, first in repeats.items():
            if again in given and first in given:
                one, two = given[first], given[again]
                for question in one.choices.keys() & two.choices.keys():
                    alike.append(_preferred(one, question) == _preferred(two, question))
    return fmean(alike) if alike else None


def _preferred(answer: Any, question: str) -> str | None:
    """The chosen video, None for 'the same'."""
    found: str | None = {"left": answer.left, "right": answer.right}.get(answer.choices[question])
    return found


def _by_trial(records: Sequence[Any], value: Callable[[Any], float]) -> list[list[float]]:
    units: dict[str, list[float]] = defaultdict(list)
    for record in records:
        units[record.trial].append(value(record))
    return list(units.values())


def _resampled(
    records: Sequence[Any], statistic: Callable[[list[Any]], Any], seed: int
) -> list[Any]:
    """A statistic of resampled raters and clips (pigeonhole bootstrap, Owen 2007).

    Both are drawn with repeats, since other raters and other clips would have given other answers;
    a record counts as often as its rater times its clip were drawn.
    """
    chooser = random.Random(seed)
    raters = sorted({record.rater for record in records})
    trials = sorted({record.trial for record in records})
    found = []
    for _ in range(ROUNDS if records else 0):
        drawn = Counter(chooser.choices(raters, k=len(raters)))
        shown = Counter(chooser.choices(trials, k=len(trials)))
        sample = [r for r in records for _ in range(drawn[r.rater] * shown[r.trial])]
        if sample:
            found.append(statistic(sample))
    return found


def _ends(values: list[float]) -> Interval | None:
    if len(values) < 2:
        return None
    cuts = quantiles(values, n=40, method="inclusive")
    return cuts[0], cuts[-1]


def _wider(one: Interval | None, other: Interval | None, *, within: Interval) -> Interval | None:
    ends = [interval for interval in (one, other) if interval is not None]
    if not ends:
        return None
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    return max(low, within[0]), min(high, within[1])
