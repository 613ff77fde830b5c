"""A sweep's driver: starts the search, shows it, and ends it when someone or its budget wants."""

from __future__ import annotations

import logging
import math
import os
import tempfile
import time
from contextlib import AbstractContextManager
from functools import partial

import ray

from vidgen.config.load_sweep import Sweep
from vidgen.engine.continuing import with_dataset
from vidgen.engine.ray_link import LinkHandle, start_link
from vidgen.engine.ray_train import joined_ray
from vidgen.engine.stop import Stop
from vidgen.errors import Interrupted
from vidgen.observe.exporter import Exporter
from vidgen.storage.run_folder import run_label
from vidgen.tune.book import Book
from vidgen.tune.final import measure_best, to_measure
from vidgen.tune.folder import SUMMARY, SweepFolder, Trial, read_exploits
from vidgen.tune.room import find_room
from vidgen.tune.search import Search
from vidgen.tune.table import SweepView, standing

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
                search = Search(sweep, book, room, link, scratch, resumed=bool(earlier))
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
    search: Search, sweep: Sweep, book: Book, folder: SweepFolder, link: LinkHandle, stop: Stop,
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

    def __init__(self, sweep: Sweep, book: Book, link: LinkHandle, search: Search) -> None:
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


def _joined(sweep: Sweep) -> AbstractContextManager[None]:
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
