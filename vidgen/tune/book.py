"""What a sweep's driver knows: its trials, what they cost, and what stopping early saved."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace

from vidgen.config.load_sweep import Sweep
from vidgen.config.space import Values
from vidgen.observe import metric_table as table
from vidgen.observe.board import Board
from vidgen.storage.run_folder import run_label
from vidgen.tune.folder import SweepFolder, Trial

Changed = Callable[[Trial, str], None]  # a trial, and what happened to it


class Book:
    """All trials of a sweep. Ray Tune's thread writes it while the driver's shows it.

    Args:
        sweep: what is searched.
        folder: where each change of a trial is kept.
        earlier: trials that are known already, by name.
        changed: told of each change worth a line.
    """

    def __init__(
        self, sweep: Sweep, folder: SweepFolder, earlier: dict[str, Trial], changed: Changed
    ) -> None:
        self._sweep, self._folder, self._changed = sweep, folder, changed
        self._trials = dict(earlier)
        self._lock = threading.RLock()
        for trial in self._trials.values():
            if not trial.finished:
                trial.state, trial.reason = "waiting", ""

    def __getstate__(self) -> dict[str, object]:
        """Nothing: Ray Tune pickles what its callbacks hold, and nobody reads that back."""
        return {}

    # What is there.

    def trials(self) -> list[Trial]:
        """Copies, by name."""
        with self._lock:
            return [replace(self._trials[name]) for name in sorted(self._trials)]

    def best(self) -> Trial | None:
        """The trial with the best last score; of those that ended if any did."""
        return next(iter(self.ranking()), None)

    def ranking(self) -> list[Trial]:
        """Trials with a score, best first; those trained to their end before all others."""
        sign = 1 if self._sweep.config.mode == "min" else -1
        scored = [t for t in self.trials() if t.score is not None and t.state != "failed"]
        return sorted(scored, key=lambda t: (t.state != "done", sign * (t.score or 0.0), t.name))

    def counts(self) -> dict[str, int]:
        """Trials by state; those that have not been picked yet are waiting."""
        found = Counter(trial.state for trial in self.trials())
        found["waiting"] += max(0, self._sweep.trials - sum(found.values()))
        return {state: found[state] for state in table.TRIAL_STATES}

    @property
    def spent_s(self) -> float:
        """GPU-seconds."""
        return sum(trial.gpu_s for trial in self.trials())

    @property
    def saved_s(self) -> float:
        """GPU-seconds that the steps of stopped trials would still have taken, at their speed.

        Validations, checkpoints and starting up are not counted: it is rather too little.
        """
        steps = self._sweep.steps
        stopped = [trial for trial in self.trials() if trial.state == "stopped"]
        return sum(trial.step_gpu_s * (steps - trial.step) for trial in stopped)

    @property
    def exploits(self) -> int:
        return sum(trial.exploits for trial in self.trials())

    # What happens.

    def new(self, values: Values) -> Trial:
        """One trial more."""
        with self._lock:
            trial = Trial(name=f"t{len(self._trials):03d}", values=values)
            self._trials[trial.name] = trial
            self._folder.write_trial(trial)
            return trial

    def starts(self, name: str) -> None:
        self._update(name, "running" if self._trials[name].step else "started", state="running")

    def waits(self, name: str) -> None:
        """Paused, or to be started again."""
        self._update(name, "", state="waiting")

    def stepped(self, name: str, step: int) -> None:
        """A trial is that far: shown, not kept."""
        with self._lock:
            if self._trials[name].state == "running":
                self._trials[name].step = max(step, self._trials[name].step)

    def scored(self, name: str, step: int, score: float, step_gpu_s: float) -> None:
        known = {"step_gpu_s": step_gpu_s} if step_gpu_s else {}
        self._update(name, "scored", step=step, score=score, **known)

    def exploited(self, name: str, donor: str, step: int, values: Values) -> None:
        with self._lock:
            times = self._trials[name].exploits + 1
            text = f"goes on from step {step} of {donor}"
            self._update(name, text, values=values, step=step, exploits=times)

    def ends(self, name: str, state: str, reason: str = "") -> None:
        self._update(name, state, state=state, reason=reason)

    def measured(self, name: str, scores: dict[str, float], lower: list[str]) -> None:
        """The last measurement of a trial; of `lower`, less is better."""
        self._update(name, "measured", final=scores, lower=lower)

    def costs(self, names: Iterable[str], gpu_s: float) -> None:
        """So many GPU-seconds more for each of these."""
        with self._lock:
            for name in names:
                self._trials[name].gpu_s += gpu_s

    def export(self, board: Board) -> None:
        """All of it as metrics."""
        for state, count in self.counts().items():
            board.set(table.SWEEP_TRIALS, count, state=state)
        board.set(table.SWEEP_TRIALS_WANTED, self._sweep.trials)
        board.set(table.SWEEP_SPENT, self.spent_s)
        board.set(table.SWEEP_SAVED, self.saved_s)
        board.count_to(table.SWEEP_EXPLOITS, self.exploits)
        best = self.best()
        if best is not None and best.score is not None:
            board.set(table.SWEEP_BEST, best.score, metric=self._sweep.config.metric)
        for trial in self.trials():
            board.set(table.TRIAL_INFO, 1, run=run_label(f"{self._folder.url}/trials/{trial.name}"))

    def summary(self) -> dict[str, object]:
        """How the sweep stands, for sweep.json."""
        best = self.best()
        return {
            "trials": self.counts(),
            "wanted": self._sweep.trials,
            "metric": self._sweep.config.metric,
            "mode": self._sweep.config.mode,
            "best": None if best is None else {"trial": best.name, "score": best.score},
            "gpu_seconds_spent": round(self.spent_s, 1),
            "gpu_seconds_saved": round(self.saved_s, 1),
            "exploits": self.exploits,
        }

    def _update(self, name: str, what: str, **fields: object) -> None:
        with self._lock:
            trial = self._trials[name]
            for key, value in fields.items():
                setattr(trial, key, value)
            self._folder.write_trial(trial)
            copied = replace(trial)
        if what:
            self._changed(copied, what)
