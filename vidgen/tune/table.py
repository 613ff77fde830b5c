"""A sweep while it runs: a table that keeps itself up to date, or a line per event elsewhere."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from vidgen.config.load_sweep import Sweep
from vidgen.observe.progress import duration
from vidgen.tune.book import Book
from vidgen.tune.folder import Trial

_COLORS = {"running": "green", "failed": "red", "stopped": "dim", "waiting": "dim"}
_LINE_EVERY_S = 30.0  # between lines that say how the sweep stands
_ORDER = ("running", "done", "failed", "stopped", "waiting")


class SweepView:
    """Shows a sweep on a console."""

    def __init__(self, sweep: Sweep, console: Console | None = None) -> None:
        self._sweep = sweep
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._live: Live | None = None
        self._printed = time.monotonic()
        self._best: float | None = None

    @contextmanager
    def open(self) -> Iterator[None]:
        """The table is on the screen inside, where there is one."""
        if not self._console.is_terminal:
            yield
            return
        with Live(Text(""), console=self._console, auto_refresh=False) as self._live:
            yield
        self._live = None

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    def changed(self, trial: Trial, what: str) -> None:
        """A line for what happened, unless the table shows it."""
        told = self._live is None or trial.state == "failed" or "goes on" in what
        if told and (text := self._line(trial, what)):
            self.say(text)

    def refresh(self, book: Book) -> None:
        if self._live is not None:
            height = max(3, self._console.height - 4)
            shown = Group(as_table(self._sweep, book, height), Text(standing(self._sweep, book)))
            self._live.update(shown, refresh=True)
        elif time.monotonic() - self._printed > _LINE_EVERY_S:
            self._printed = time.monotonic()
            self.say(standing(self._sweep, book))

    def _line(self, trial: Trial, what: str) -> str:
        metric, steps = self._sweep.config.metric, self._sweep.steps
        score = "" if trial.score is None else f", {metric} {trial.score:.4g}"
        if what == "started":
            return f"{trial.name} started: {_values(trial)}"
        if what == "scored":
            best = self._is_best(trial.score)
            return f"{trial.name} step {trial.step}/{steps}{score}{' (best so far)' * best}"
        if what == "failed":
            return f"{trial.name} failed at step {trial.step}: {trial.reason}"
        if what in ("stopped", "done"):
            why = f" ({trial.reason})" if trial.reason else ""
            return f"{trial.name} {what} at step {trial.step}/{steps}{score}{why}"
        if what == "measured":
            return ""
        return f"{trial.name} {what}: {_values(trial)}" if "goes on" in what else ""

    def _is_best(self, score: float | None) -> bool:
        better = score is not None and (
            self._best is None
            or (score < self._best if self._sweep.config.mode == "min" else score > self._best)
        )
        self._best = score if better else self._best
        return better


def as_table(sweep: Sweep, book: Book, most: int) -> Table:
    """One row a trial, at most `most`: those that run, then the best of the others."""
    metric, mode = sweep.config.metric, sweep.config.mode
    sign = 1 if mode == "min" else -1
    best = book.best()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("trial", "state", "step", metric, "GPU-h", "values"):
        words = name in ("trial", "state", "values")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    trials = sorted(
        (trial for trial in book.trials()),
        key=lambda t: (
            _ORDER.index(t.state),
            sign * t.score if t.score is not None else float("inf"),
            t.name,
        ),
    )
    for trial in trials[:most]:
        color = _COLORS.get(trial.state, "")
        score = "-" if trial.score is None else f"{trial.score:.4g}"
        table.add_row(
            trial.name,
            f"[{color}]{trial.state}[/]" if color else trial.state,
            f"{trial.step}/{sweep.steps}",
            f"[bold green]{score}[/]" if best and trial.name == best.name else score,
            f"{trial.gpu_s / 3600:.2f}",
            escape(trial.reason if trial.state == "failed" else _values(trial)),
        )
    return table


def standing(sweep: Sweep, book: Book) -> str:
    """One line: trials by state, the best so far, what was spent and saved."""
    counts = ", ".join(f"{count} {state}" for state, count in book.counts().items() if count)
    best = book.best()
    metric = sweep.config.metric
    found = "" if best is None else f"; best {metric} {best.score:.4g} ({best.name})"
    gpu = "GPU" if sweep.config.trial.gpus_per_worker else "CPU"
    return (
        f"{sweep.trials} trials: {counts}{found}; "
        f"{duration(book.spent_s)} of {gpu} time spent, {duration(book.saved_s)} saved"
    )


def _values(trial: Trial) -> str:
    return ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in trial.values.items())
