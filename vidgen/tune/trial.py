"""What a trial of a sweep runs, in an actor of Ray Tune: an ordinary run of the engine.

The actor is the run's driver. Workers of Ray Train do the training (or, with `trial.workers` 0, the
actor itself), and what they show becomes reports to Ray Tune, which answers by letting the trial go
on or by ending the actor, and the workers with it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ray import tune

from vidgen.config.load_sweep import Sweep
from vidgen.config.run import RunConfig
from vidgen.config.space import Values
from vidgen.engine.continuing import finished_step, prepare_run
from vidgen.engine.distributed import join_ranks
from vidgen.engine.ray_link import DriverWishes, LinkHandle
from vidgen.engine.ray_train import run_on_ray
from vidgen.engine.stop import Stop
from vidgen.engine.train import run_rank
from vidgen.errors import Interrupted, VidgenError
from vidgen.storage.run_folder import RunFolder
from vidgen.tune.exploit import Pointer, take_over
from vidgen.tune.folder import SweepFolder

TIME = "at"  # the step, in reports that a scheduler may act on: all but the last
_TELL_EVERY_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Given:
    """What all trials of a sweep are told.

    Attributes:
        link: to the sweep's driver.
        resumed: the sweep goes on after its driver died, and Ray Tune has forgotten everything.
    """

    sweep: Sweep
    link: LinkHandle
    resumed: bool


def run_trial(picked: dict[str, Any], given: Given) -> None:
    """Train a trial from where its folder stands, to its end or until Ray Tune ends it.

    Args:
        picked: {"picked": {"trial": name, "values": values}}.
    """
    name, values = picked["picked"]["trial"], picked["picked"]["values"]
    wishes = DriverWishes(given.link)
    config = given.sweep.run_config(name, values)
    reports = _Reports(given, name, values, RunFolder(str(config.run), config.storage))
    try:
        pointer = Pointer.read(tune.get_checkpoint())
        if pointer is not None and pointer.trial != name:
            sweep = SweepFolder(given.sweep.url, config.storage)
            take_over(sweep, pointer, config, values)
        config = prepare_run(config, None)
        if given.resumed:
            reports.repeat()
        if finished_step(config) is None:
            _train(config, _Wished(wishes), reports)
        reports.end("done")
    except Interrupted:
        reports.end("interrupted")
    except VidgenError as error:
        reports.end("failed", reason=str(error))


def _train(config: RunConfig, stop: Stop, reports: _Reports) -> None:
    if config.scale.workers:
        run_on_ray(config, stop, reports)
        return
    with join_ranks() as ranks:
        run_rank(config, ranks, stop.requested, reports)


class _Wished(Stop):
    """The sweep's driver asks, instead of a signal."""

    def __init__(self, wishes: DriverWishes) -> None:
        super().__init__()
        self._wishes = wishes

    def requested(self) -> bool:
        return self._wishes.stop()


class _Reports:
    """Shows a run to Ray Tune and to the sweep's driver: a Display."""

    def __init__(self, given: Given, name: str, values: Values, folder: RunFolder) -> None:
        self._sweep, self._link = given.sweep, given.link
        self._name, self._values, self._folder = name, values, folder
        self._pbt = given.sweep.config.scheduler.kind == "pbt"
        self._unsaved: dict[int, float] = {}  # scores that wait for their checkpoint
        self._last: tuple[int, float] | None = None
        self._told = self._step_s = 0.0

    def show(self, line: dict[str, Any]) -> None:
        """Raises SystemExit, in Ray Tune's thread, when the trial is over."""
        step, metric = int(line["step"]), self._sweep.config.metric
        self._step_s = line.get("step_s", self._step_s)
        if time.monotonic() - self._told > _TELL_EVERY_S or metric in line:
            self._told = time.monotonic()
            self._link.send.remote("trial", {"trial": self._name, "step": step})
        if metric in line:
            self._last = (step, float(line[metric]))
            if not self._pbt:
                self._report(*self._last)
            elif step % self._sweep.interval_steps == 0:
                self._unsaved[step] = self._last[1]
        if self._unsaved and "save_s" in line:
            saved = self._folder.checkpoint_steps()
            for at in sorted(at for at in self._unsaved if at in saved):
                self._report(at, self._unsaved.pop(at))

    def say(self, text: str) -> None:
        self._link.send.remote("say", {"trial": self._name, "text": text})

    def repeat(self) -> None:
        """Report again what was measured before the sweep's driver died."""
        saved = self._folder.checkpoint_steps()
        metric = self._sweep.config.metric
        for line in self._folder.metrics():
            if metric in line and line["step"] <= (saved[-1] if saved else 0):
                self._last = (int(line["step"]), float(line[metric]))
                if not self._pbt:
                    self._report(*self._last)
            self._step_s = line.get("step_s", self._step_s)

    def end(self, how: str, *, reason: str = "") -> None:
        """The last report: done, interrupted or failed."""
        metric, base = self._sweep.config.metric, self._sweep.base
        if how == "done":  # also where nothing was left to do
            found = [
                (int(m["step"]), float(m[metric])) for m in self._folder.metrics() if metric in m
            ]
            if base.early_stop.patience:  # the run has its best weights, not its last
                sign = 1 if self._sweep.config.mode == "min" else -1
                found.sort(key=lambda point: -sign * point[1])
            self._last = found[-1] if found else self._last
        step, score = self._last or (0, None)
        counted = {} if score is None or how == "failed" else {metric: score}
        tune.report({"step": step, "ended": how, "reason": reason, **counted})

    def _report(self, step: int, score: float) -> None:
        found: dict[str, Any] = {"step": step, "step_s": self._step_s}
        found[self._sweep.config.metric] = score
        if step >= self._sweep.steps:
            return  # nothing is left to decide; `end` tells the score
        found[TIME] = step
        if not self._pbt:
            tune.report(found)
            return
        with Pointer(trial=self._name, step=step, values=self._values).as_checkpoint() as pointer:
            tune.report(found, checkpoint=pointer)
