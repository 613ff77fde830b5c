"""A sweep's driver: Ray Tune in a thread, signals, budgets and the table in the main one."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import threading
import time
from functools import partial
from typing import Any

import ray
from ray import tune
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, Stopper, TuneConfig
from ray.tune.experiment import Trial as RayTrial

from vidgen.config.load_sweep import Sweep
from vidgen.engine.continuing import with_dataset
from vidgen.engine.ray_link import LinkHandle, start_link
from vidgen.engine.ray_train import joined_ray
from vidgen.engine.stop import Stop
from vidgen.errors import Interrupted, TrainingError
from vidgen.observe.exporter import Exporter
from vidgen.observe.run_metrics import run_label
from vidgen.tune.book import Book
from vidgen.tune.final import measure_best, to_measure
from vidgen.tune.folder import SUMMARY, SweepFolder, Trial, read_exploits
from vidgen.tune.room import Room, find_room
from vidgen.tune.schedulers import Curve, make_scheduler
from vidgen.tune.table import SweepView, standing
from vidgen.tune.trial import Given, run_trial

STOPPING = "stopping: running trials save first (Ctrl-C again: at once, unsaved)"
_POLL_S = 0.25
_SUMMARY_EVERY_S = 10.0
_HOPELESS = 3  # failed trials and no score: the others would fail likewise
_LEAVE_S = 300.0  # that trials have to save and leave


def run_trials(
    sweep: Sweep, folder: SweepFolder, earlier: dict[str, Trial], view: SweepView
) -> Book:
    """Run what is left to do of a sweep. Returns what became of its trials.

    Raises:
        Interrupted: stopped by Ctrl-C or SIGTERM, after the running trials had saved.
        TrainingError: nothing but failures, or Ray could not run the sweep.
    """
    _as_applied(sweep, folder, earlier)
    book = Book(sweep, folder, earlier, view.changed)
    finished = sum(trial.finished for trial in earlier.values())
    left = finished < max(len(earlier), sweep.trials)
    if not left and not to_measure(sweep, book):
        return book
    with_dataset(sweep.base)  # once, before many trials want it
    with (
        _joined(sweep),
        Exporter(sweep=run_label(folder.url)) as exporter,
        Stop(lambda: view.say(STOPPING)) as stop,
        tempfile.TemporaryDirectory(prefix="vidgen-tune-") as scratch,
    ):
        stop.listen()  # Ray's own handler of SIGTERM ends the process
        if left:
            room = find_room(sweep, stop.requested)
            link = start_link()
            try:
                search = _Search(sweep, book, room, link, scratch, resumed=bool(earlier))
                view.say(f"{room.trials} at a time, {room.text}")
                with view.open():
                    _follow(search, sweep, book, folder, link, stop, view, exporter)
            finally:
                ray.kill(link)
            folder.write_json(SUMMARY, book.summary())
            search.check()
        if again := to_measure(sweep, book):
            view.say(f"measuring {', '.join(trial.name for trial in again)} again")
            measure_best(sweep, folder, book, view.say, partial(_check, stop, folder))
    return book


def _as_applied(sweep: Sweep, folder: SweepFolder, earlier: dict[str, Trial]) -> None:
    """Give trials the values that their run folders have: an exploit may have been decided and not
    yet carried out when the driver died."""
    for number, trial in enumerate(earlier.values()):
        if sweep.config.scheduler.kind == "pbt" and not trial.finished:
            exploits = read_exploits(folder.run(trial.name))
            first = (sweep.points or [])[number]
            trial.values = exploits[-1]["after"] if exploits else first
            trial.exploits = len(exploits)


def _check(stop: Stop, folder: SweepFolder) -> None:
    if stop.requested():
        raise Interrupted("stopped while measuring the best trials", fix=_go_on(folder))


def _go_on(folder: SweepFolder) -> str:
    return f"Go on with the same command and --resume (the sweep folder is {folder.url})."


def _follow(
    search: _Search, sweep: Sweep, book: Book, folder: SweepFolder, link: LinkHandle, stop: Stop,
    view: SweepView, exporter: Exporter,
) -> None:  # fmt: skip
    """Show the sweep, and end it when someone or its budget wants that."""
    ending = _Ending(sweep, book, link, search)
    began, summary_at = time.monotonic(), 0.0
    while search.running():
        for kind, value in ray.get(link.news.remote(_POLL_S)):
            if kind == "trial":
                book.stepped(value["trial"], value["step"])
        view.refresh(book)
        book.export(exporter.board)
        if time.monotonic() > summary_at:
            summary_at = time.monotonic() + _SUMMARY_EVERY_S
            folder.write_json(SUMMARY, book.summary())
        ending.look(stop.requested(), time.monotonic() - began)
    view.refresh(book)
    book.export(exporter.board)
    if stop.requested():
        folder.write_json(SUMMARY, book.summary())
        raise Interrupted(
            f"stopped: {standing(sweep, book)}",
            fix=_go_on(folder),
        )
    if ending.why:
        view.say(ending.why)


class _Ending:
    """Ends a sweep before its time: first trials are asked to save, then Ray Tune to stop."""

    def __init__(self, sweep: Sweep, book: Book, link: LinkHandle, search: _Search) -> None:
        self._sweep, self._book, self._link, self._search = sweep, book, link, search
        self.why = ""
        self._asked: float | None = None
        self._running: set[str] = set()

    def look(self, stopping: bool, seconds: float) -> None:
        if self._asked is None:
            self.why = self.why or self._used_up(seconds)
            if stopping or self.why:
                self._asked = time.monotonic()
                self._running = {t.name for t in self._book.trials() if t.state == "running"}
                self._link.stop.remote()
            return
        # Trials that Ray Tune starts meanwhile leave at once.
        still = {t.name for t in self._book.trials() if t.state == "running"} & self._running
        if not still or time.monotonic() - self._asked > _LEAVE_S:
            self._search.stop()

    def _used_up(self, seconds: float) -> str:
        budget, spent = self._sweep.config.budget, self._book.spent_s
        if budget.gpu_hours is not None and spent > budget.gpu_hours * 3600:
            return f"the budget of {budget.gpu_hours:g} GPU-hours is used up"
        if budget.hours is not None and seconds > budget.hours * 3600:
            return f"the {budget.hours:g} hours of this sweep are over"
        trials = self._book.trials()
        failed = [trial for trial in trials if trial.state == "failed"]
        if len(failed) >= _HOPELESS and all(trial.score is None for trial in trials):
            return f"{len(failed)} trials failed and none has a score"
        return ""


class _Search:
    """`Tuner.fit()` in a thread: signals stay with the main one, which Ray would take over."""

    def __init__(
        self, sweep: Sweep, book: Book, room: Room, link: LinkHandle, scratch: str, *, resumed: bool
    ) -> None:
        self._stopper = _Switch()
        self._error: BaseException | None = None
        tuner = _tuner(sweep, book, room, link, scratch, self._stopper, resumed=resumed)
        self._thread = threading.Thread(
            target=self._run, args=(tuner,), name="ray-tune", daemon=True
        )
        self._thread.start()

    def _run(self, tuner: tune.Tuner) -> None:
        try:
            tuner.fit()
        except BaseException as error:  # raised again, in plain words, by `check`
            self._error = error

    def running(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        self._stopper.on = True

    def check(self) -> None:
        """Raise what ended the sweep too early."""
        if self._error is not None:
            lines = [line for line in str(self._error).splitlines() if line.strip()]
            what = lines[-1] if lines else type(self._error).__name__
            raise TrainingError(
                f"Ray Tune could not run the sweep: {what}", fix="Go on with: --resume"
            ) from self._error


class _Switch(Stopper):
    """Ends the whole sweep once it is on."""

    def __init__(self) -> None:
        self.on = False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        return self.on


class _Watch(Callback):
    """Writes what Ray Tune does into the book."""

    def __init__(self, sweep: Sweep, book: Book, width: float) -> None:
        self._book, self._metric, self._width = book, sweep.config.metric, width
        self._clock = time.monotonic()
        self._seen: dict[str, str] = {}

    def on_trial_result(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, result: dict[str, Any],
        **info: Any,
    ) -> None:  # fmt: skip
        if self._metric in result:
            each = result.get("step_s", 0.0) * self._width
            self._book.scored(_name(trial), int(result["step"]), float(result[self._metric]), each)

    def on_trial_start(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        self._book.starts(_name(trial))

    def on_trial_complete(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        last = trial.last_result or {}
        how = last.get("ended")
        if how == "interrupted":
            self._book.waits(_name(trial))
        elif how in ("failed", "done"):
            self._book.ends(_name(trial), how, last.get("reason", ""))
        elif last.get("step"):
            self._book.ends(_name(trial), "stopped")
        else:  # the sweep ended before it began
            self._book.waits(_name(trial))

    def on_trial_recover(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        self._book.waits(_name(trial))

    def on_trial_error(
        self, iteration: int, trials: list[RayTrial], trial: RayTrial, **info: Any
    ) -> None:
        error = trial.get_error()
        lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
        self._book.ends(_name(trial), "failed", lines[-1] if lines else "its process died")

    def on_step_end(self, iteration: int, trials: list[RayTrial], **info: Any) -> None:
        now = time.monotonic()
        running = [_name(trial) for trial in trials if trial.status == RayTrial.RUNNING]
        self._book.costs(running, (now - self._clock) * self._width)
        self._clock = now
        for trial in trials:
            name = _name(trial)
            if self._seen.get(name) != trial.status == RayTrial.PAUSED:
                self._book.waits(name)
            self._seen[name] = trial.status


def _tuner(
    sweep: Sweep, book: Book, room: Room, link: LinkHandle, scratch: str, stopper: Stopper, *,
    resumed: bool,
) -> tune.Tuner:  # fmt: skip
    config = sweep.config
    curves, reached = _earlier(sweep, book)
    given = Given(sweep=sweep, link=link, resumed=resumed)
    searching: dict[str, Any]
    if sweep.points is None:
        from vidgen.tune.searcher import OptunaTrials  # Optuna takes a second to import

        searching = {"search_alg": OptunaTrials(sweep, book.trials(), book.new)}
        samples, space = sweep.trials, {}
    else:
        known = len(book.trials())
        for values in sweep.points[known : sweep.trials]:
            book.new(values)
        left = [t for t in book.trials() if not t.finished]
        picked = [{"trial": trial.name, "values": trial.values} for trial in left]
        searching, samples, space = {}, 1, {"picked": tune.grid_search(picked)}
    return tune.Tuner(
        tune.with_resources(partial(run_trial, given=given), room.of_trial),
        param_space=space,
        tune_config=TuneConfig(
            metric=None,  # the scheduler's and the searcher's own
            num_samples=samples,
            # Of trials that are paused too, so a population cannot be kept small in this way.
            max_concurrent_trials=None if config.scheduler.kind == "pbt" else room.trials,
            scheduler=make_scheduler(sweep, curves, reached, book.exploited),
            # A trial in its own process may take over the process of one that ended.
            reuse_actors=config.trial.workers == 0,
            **searching,
        ),
        run_config=RunConfig(
            name=config.name,
            storage_path=scratch,  # our own notes are in the sweep folder
            failure_config=FailureConfig(max_failures=config.trial.max_failures),
            checkpoint_config=CheckpointConfig(num_to_keep=4),
            callbacks=[_Watch(sweep, book, room.width)],
            stop=stopper,
            verbose=0,
        ),
    )


def _earlier(sweep: Sweep, book: Book) -> tuple[dict[str, Curve], int]:
    """Curves of finished trials, and how far the others are."""
    curves: dict[str, Curve] = {}
    reached = 0
    for trial in book.trials():
        if trial.finished and trial.state != "failed":
            run = SweepFolder(sweep.url, sweep.config.storage).run(trial.name)
            curves[trial.name] = [
                (int(line["step"]), float(line[sweep.config.metric]))
                for line in run.metrics()
                if sweep.config.metric in line
            ]
        elif not trial.finished:
            reached = max(reached, trial.step)
    return curves, reached


def _joined(sweep: Sweep) -> Any:
    """Ray, with room for the trials that were asked for, or for one per core."""
    for name, value in {
        "RAY_AIR_NEW_OUTPUT": "0",
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths mean what they meant to the driver
        "RAY_USAGE_STATS_ENABLED": "0",
        # Trials' actors take no CPUs, which Ray would remark on where there are few.
        "RAY_worker_maximum_startup_concurrency": "16",
        "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
        "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": str(10**6),
        "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    }.items():
        os.environ.setdefault(name, value)
    for name in ("ray.tune", "ray.train", "ray.air"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # a trial's error is the table's
    trial = sweep.config.trial
    each = max(1, trial.workers) * trial.cpus_per_worker
    count = sweep.config.concurrent or max(1, math.floor((os.cpu_count() or 1) / each))
    gpus = max(1, trial.workers) * trial.gpus_per_worker
    return joined_ray(each * min(count, max(1, sweep.trials)), gpus)


def _name(trial: RayTrial) -> str:
    return str(trial.config["picked"]["trial"])
