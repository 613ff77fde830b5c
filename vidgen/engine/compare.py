"""Two runs on the same clips: which is better, and is the difference more than chance?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vidgen.config.run import StorageConfig
from vidgen.data.manifest import MANIFEST
from vidgen.engine.evaluation import Evaluation
from vidgen.engine.set_measures import rounds_for
from vidgen.engine.values import Values, read_values
from vidgen.errors import NotFoundInStore
from vidgen.metrics.bootstrap import Difference, half_samples, paired_means
from vidgen.metrics.features.table import EXTRACTORS
from vidgen.metrics.score import Score
from vidgen.metrics.set_scores import DistributionScorer, SetScorer, TemporalScorer
from vidgen.storage.run_folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One score of two runs.

    Attributes:
        mine, theirs: the scores, of equal protocol.
        interval: 95 % interval of mine minus theirs; None when the clips behind a score are
            unknown.
    """

    mine: Score
    theirs: Score
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        return self.mine.minus(self.theirs)

    @property
    def verdict(self) -> str:
        """'better', 'worse', or 'unclear' when chance explains the difference."""
        if self.interval is None or self.mine.better not in ("higher", "lower"):
            return "unclear"
        low, high = self.interval
        if low <= 0 <= high:
            return "unclear"
        return "better" if (low > 0) == (self.mine.better == "higher") else "worse"

    def to_json(self) -> dict[str, Any]:
        return {
            "name": self.mine.name,
            "value": self.mine.value,
            "other": self.theirs.value,
            "difference": self.difference,
            "interval": self.interval,
            "verdict": self.verdict,
        }


@dataclass(frozen=True, kw_only=True)
class Against:
    """The other side of `vidgen evaluate --against`: an evaluated run, or a data set.

    Attributes:
        dataset: where held-out clips come from, if that is what was given.
        folder, evaluation: the other run, read before anything is generated.
    """

    storage: StorageConfig
    dataset: str | None = None
    folder: RunFolder | None = None
    evaluation: Evaluation | None = None

    def compare(self, found: Evaluation, run: str) -> list[Comparison]:
        """This run's new evaluation with the other run's; nothing to do for a data set."""
        if self.folder is None or self.evaluation is None:
            return []
        mine = read_values(RunFolder(run, self.storage), found.step)
        return compare(found, self.evaluation, mine, read_values(self.folder, self.evaluation.step))


def open_against(url: str, storage: StorageConfig) -> Against:
    """What stands at a url. Raises NotFoundInStore when it is neither a run nor a data set."""
    folder = RunFolder(url, storage)
    if folder.exists():
        return Against(storage=storage, folder=folder, evaluation=Evaluation.read(folder))
    try:
        folder.store.stat(MANIFEST)
    except NotFoundInStore:
        raise NotFoundInStore(
            f"{folder.url} is neither a run nor a prepared data set",
            expected=f"a folder with config.yaml or {MANIFEST}",
        ) from None
    return Against(storage=storage, dataset=folder.url)


def compare(one: Evaluation, other: Evaluation, mine: Values, theirs: Values) -> list[Comparison]:
    """Score by score. Raises EvaluationError where protocols differ."""
    pairs = one.pairs(other)
    for score, against in pairs:
        score.minus(against)  # all must compare before the work begins
    found = dict(_differences(mine, theirs))
    return [
        Comparison(
            mine=score,
            theirs=against,
            interval=(found[score.name].low, found[score.name].high)
            if score.name in found
            else None,
        )
        for score, against in pairs
    ]


def _differences(mine: Values, theirs: Values) -> Iterator[tuple[str, Difference]]:
    """By score, from the same clips of both runs."""
    for name, value in mine.items():
        other = theirs.get(name)
        if other is None or other.shape != value.shape or len(value) < 4:
            continue
        kind, _, features = name.partition("/")
        if not features:
            yield name, paired_means(value, other)
        elif kind == "made":
            yield from _sets(features, mine[f"real/{features}"], value, other).items()


def _sets(features: str, real: Tensor, mine: Tensor, theirs: Tensor) -> dict[str, Difference]:
    """(N, F, D) each."""
    scorer: SetScorer = TemporalScorer()
    if features in EXTRACTORS:
        scorer = DistributionScorer(features)

    def apart(rows: Tensor) -> dict[str, float]:
        one = scorer(real[rows], mine[rows], quick=True)
        other = scorer(real[rows], theirs[rows], quick=True)
        return {name: one[name] - other[name] for name in one}

    return half_samples(apart, len(real), rounds=rounds_for(real))
