"""Ray Tune's schedulers, and what they lack to go on after a driver died.

A trial's last report carries no TIME: nothing is left to decide then, and none of them may stop a
trial between its last validation and its last checkpoint.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray.tune.experiment import Trial as RayTrial
from ray.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    TrialScheduler,
)

from vidgen.config.load_sweep import Sweep
from vidgen.config.space import Values, mutate
from vidgen.errors import ConfigError
from vidgen.tune.trial import TIME

Curve = list[tuple[int, float]]  # (step, score) of a trial's validations
OnExploit = Callable[[str, str, int, Values], None]  # trial, donor, step, new values
_TRIES = 20  # at a mutation that makes a valid config


def make_scheduler(
    sweep: Sweep, earlier: dict[str, Curve], reached: int, on_exploit: OnExploit
) -> TrialScheduler:
    """The scheduler of a sweep.

    Args:
        earlier: curves of trials that were finished before this driver started.
        reached: steps that some unfinished trial has done already.
        on_exploit: told of every exploit of population-based training.
    """
    config = sweep.config
    how = config.scheduler
    if how.kind == "none":
        return FIFOScheduler()  # type: ignore[no-untyped-call]
    if how.kind == "pbt":
        return Population(sweep, reached, on_exploit)
    scheduler: Halving | Median
    if how.kind == "asha":
        scheduler = Halving(
            time_attr=TIME, grace_period=sweep.grace_steps, max_t=sweep.steps,
            reduction_factor=how.reduction, metric=config.metric, mode=config.mode,
        )  # fmt: skip
    else:
        scheduler = Median(
            time_attr=TIME, grace_period=sweep.grace_steps,
            min_samples_required=how.min_trials, metric=config.metric, mode=config.mode,
        )  # fmt: skip
    for name, curve in earlier.items():
        scheduler.remember(name, [point for point in curve if point[0] < sweep.steps])
    return scheduler


class Halving(ASHAScheduler):
    """Asynchronous successive halving (https://arxiv.org/abs/1810.05934)."""

    def remember(self, name: str, curve: Curve) -> None:
        """Let a trial of an earlier driver count at the rungs it reached."""
        nobody: Any = None  # no controller is asked anything
        trial: Any = SimpleNamespace(trial_id=f"earlier-{name}")
        self.on_trial_add(nobody, trial)
        for step, score in curve:
            self.on_trial_result(nobody, trial, {TIME: step, self._metric: score})


class Median(MedianStoppingRule):
    """Stops a trial whose best is worse than the median of the others' running means."""

    def remember(self, name: str, curve: Curve) -> None:
        """Let a trial of an earlier driver count."""
        if curve:
            found = [{TIME: step, self._metric: score} for step, score in curve]
            self._results[f"earlier-{name}"] = found

    def _on_insufficient_samples(self, controller: Any, trial: RayTrial, time: float) -> str:
        """Ray's pauses a trial until others are as far, and its unsaved steps are done again."""
        return TrialScheduler.CONTINUE

    def on_trial_complete(self, controller: Any, trial: RayTrial, result: dict[str, Any]) -> None:
        if TIME in result:
            super().on_trial_complete(controller, trial, result)


class Population(PopulationBasedTraining):
    """Population-based training whose mutations are the sweep's space's."""

    def __init__(self, sweep: Sweep, reached: int, on_exploit: OnExploit) -> None:
        how, interval = sweep.config.scheduler, sweep.interval_steps
        super().__init__(
            time_attr=TIME,
            metric=sweep.config.metric,
            mode=sweep.config.mode,
            perturbation_interval=interval,
            # Trials that go on after a driver died are not all at the same step: the population is
            # looked at again once all have passed where the first of them was.
            burn_in_period=0 if not reached else (reached // interval + 1) * interval,
            quantile_fraction=how.quantile,
            custom_explore_fn=lambda config: config,  # see _get_new_config
            log_config=False,
            require_attrs=False,
            synch=how.together,
        )
        self._sweep, self._on_exploit = sweep, on_exploit
        self._random = random.Random(sweep.config.search.seed)

    def choose_trial_to_run(self, controller: Any) -> RayTrial | None:
        """As Ray's, but a trial that failed or ended leaves no others waiting for it for ever."""
        chosen = super().choose_trial_to_run(controller)
        if chosen is None and self._synch:
            live = controller.get_live_trials()
            paused = [trial for trial in live if trial.status == RayTrial.PAUSED]
            waiting = [t for t in paused if self._trial_state[t].last_result]
            if waiting and len(paused) == len(live):
                last = max(waiting, key=lambda t: self._trial_state[t].last_train_time)
                self.on_trial_result(controller, last, self._trial_state[last].last_result or {})
                chosen = super().choose_trial_to_run(controller)
        return chosen

    def _get_new_config(
        self, trial: RayTrial, trial_to_clone: RayTrial
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """The donor's values, moved a little; a config that is not valid is tried again."""
        config, mine = self._sweep.config, trial.config["picked"]["trial"]
        donors: Values = trial_to_clone.config["picked"]["values"]
        values = donors
        for _ in range(_TRIES):
            moved = mutate(
                config.space, config.mutated, donors, config.scheduler.resample, self._random
            )
            try:
                self._sweep.run_config(mine, moved)
            except ConfigError:
                continue
            values = moved
            break
        return {"picked": {"trial": mine, "values": values}}, {}

    def _exploit(self, controller: Any, trial: RayTrial, trial_to_clone: RayTrial) -> None:
        super()._exploit(controller, trial, trial_to_clone)
        step = int(self._trial_state[trial_to_clone].last_train_time)
        picked, donor = trial.config["picked"], trial_to_clone.config["picked"]
        self._on_exploit(picked["trial"], donor["trial"], step, picked["values"])
