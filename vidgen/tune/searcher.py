"""Optuna's search, through Ray Tune's, over a sweep's space."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import optuna
from ray.tune.search import Searcher
from ray.tune.search.optuna import OptunaSearch

from vidgen.config.load_sweep import Sweep
from vidgen.config.space import Domain, Values, sample
from vidgen.tune.folder import Trial

optuna.logging.set_verbosity(optuna.logging.ERROR)


class OptunaTrials(Searcher):
    """Hands out a sweep's trials: unfinished ones first, then what Optuna suggests.

    Keys whose condition does not hold are sampled too, which keeps the estimator's space flat, and
    left out of the trial.

    Args:
        earlier: trials of an earlier driver; finished ones teach, the others go on.
        new: makes the next trial of the sweep out of its values.
    """

    def __init__(self, sweep: Sweep, earlier: list[Trial], new: Callable[[Values], Trial]) -> None:
        config = sweep.config
        super().__init__(metric=config.metric, mode=config.mode)
        self._sweep, self._new = sweep, new
        self._waiting = [trial for trial in earlier if not trial.finished]
        self._count = len(earlier)
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=config.search.startup, seed=config.search.seed + len(earlier)
        )
        self._inner = OptunaSearch(
            space={key: _distribution(domain) for key, domain in config.space.items()},
            metric=config.metric,
            mode=config.mode,
            sampler=sampler,
        )
        self._suggested: set[str] = set()  # by Optuna, of this driver
        self._going_on: dict[str, Trial] = {}
        for trial in earlier:
            if trial.finished and trial.score is not None and trial.state != "failed":
                self._teach(trial, trial.score)

    def suggest(  # type: ignore[override]  # FINISHED is a string
        self, trial_id: str
    ) -> dict[str, Any] | str | None:
        if self._waiting:
            trial = self._going_on[trial_id] = self._waiting.pop(0)
        elif self._count >= self._sweep.trials:
            return str(Searcher.FINISHED)
        else:
            found = self._inner.suggest(trial_id)
            if found is None:
                return None
            self._suggested.add(trial_id)
            self._count += 1
            space = self._sweep.config.space
            values = {key: _item(space[key], found[key]) for key in space}
            trial = self._new(self._sweep.used(values))
        return {"picked": {"trial": trial.name, "values": trial.values}}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        score = (result or {}).get(self._sweep.config.metric)
        if trial_id in self._going_on and score is not None:
            self._teach(self._going_on[trial_id], score)
        if trial_id in self._suggested:
            self._inner.on_trial_complete(trial_id, result=result, error=error or score is None)

    def _teach(self, trial: Trial, score: float) -> None:
        space, number = self._sweep.config.space, int(trial.name[1:])
        every = sample(space, self._sweep.config.search.seed, number) | trial.values
        point = {key: _index(space[key], item) for key, item in every.items()}
        self._inner.add_evaluated_point(point, score)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the sweep folder knows everything."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: see `earlier`."""


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if domain.loguniform:
        return optuna.distributions.FloatDistribution(*domain.loguniform, log=True)
    if domain.uniform:
        return optuna.distributions.FloatDistribution(*domain.uniform)
    if domain.integer:
        first, last = domain.items[0], domain.items[-1]
        return optuna.distributions.IntDistribution(first, last, step=domain.step)
    return optuna.distributions.CategoricalDistribution(range(len(domain.items)))


def _item(domain: Domain, found: Any) -> Any:
    """What a trial records for what Optuna found: of a list, it finds the place."""
    if domain.bounds is None:
        return domain.items[found]
    return float(f"{found:.4g}") if domain.integer is None else found


def _index(domain: Domain, item: Any) -> Any:
    return domain.items.index(item) if domain.bounds is None else item
