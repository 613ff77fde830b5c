"""Ray Tune's part of a sweep: the search in a thread, and what it tells the book."""

from __future__ import annotations

import threading
import time
from typing import Any

from ray import tune
from ray.train._internal.session import get_session
from ray.tune import Callback, CheckpointConfig, FailureConfig, RunConfig, Stopper, TuneConfig
from ray.tune.experiment import Trial as RayTrial
from ray.tune.trainable import Trainable
from ray.tune.trainable.function_trainable import wrap_function

from vidgen.config.load_sweep import Sweep
from vidgen.engine.ray_link import LinkHandle
from vidgen.errors import TrainingError
from vidgen.tune.book import Book
from vidgen.tune.folder import SweepFolder
from vidgen.tune.room import Room
from vidgen.tune.schedulers import Curve, make_scheduler
from vidgen.tune.trial import Given, run_trial

_END_S = 90.0  # that a trial's workers have to save and end


class Search:
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
        tune.with_resources(_trainable(given), room.of_trial),
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


def _trainable(given: Given) -> type[Trainable]:
    """What Ray Tune runs: a function whose workers have ended before its actor does."""

    def trial(config: dict[str, Any]) -> None:
        run_trial(config, given)

    class Patient(wrap_function(trial)):  # type: ignore[misc]
        def cleanup(self) -> None:
            session = get_session()
            super().cleanup()  # ends the function at its report, and does not wait
            if session is not None and session.training_started:
                session.training_thread.join(_END_S)  # type: ignore[no-untyped-call]

    return Patient


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


def _name(trial: RayTrial) -> str:
    return str(trial.config["picked"]["trial"])
