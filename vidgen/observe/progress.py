"""How a run shows itself: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

_LINE_EVERY_S = 5.0  # between plain lines


class Display(Protocol):
    """What a run tells whoever watches it."""

    def show(self, line: dict[str, Any]) -> None:
        """A line of metrics.jsonl."""

    def say(self, text: str) -> None:
        """One line of news."""


class Nobody:
    """Where ranks other than 0 talk to."""

    def show(self, line: dict[str, Any]) -> None:
        """Nobody looks."""

    def say(self, text: str) -> None:
        """Nobody listens."""


class Watcher:
    """Shows steps, loss, validation loss, clips per second and time left.

    Args:
        steps: of the whole run.
        console: where to; standard output by default.
    """

    def __init__(self, steps: int, console: Console | None = None) -> None:
        self._steps = steps
        self._console = console or Console(file=sys.stdout, highlight=False, soft_wrap=True)
        self._facts: dict[str, float] = {}
        self._began: tuple[float, int] | None = None  # time and step of the first line
        self._unprinted = ""
        self._printed = 0.0
        self._bar: Progress | None = None
        if self._console.is_terminal:
            self._bar = Progress(
                TextColumn("step {task.completed}/{task.total}"),
                BarColumn(bar_width=None),
                TextColumn("{task.description}"),
                console=self._console,
                expand=True,
            )
            self._task = self._bar.add_task("", total=steps)
            self._bar.start()

    def show(self, line: dict[str, Any]) -> None:
        step, now = int(line["step"]), time.monotonic()
        self._facts |= {k: v for k, v in line.items() if k in ("loss", "val_loss", "clips_per_s")}
        if self._began is None:
            self._began = (now, step)
        text = self._text(step, now)
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
            return
        self._unprinted = f"step {step}/{self._steps}  {text}"
        if now - self._printed >= _LINE_EVERY_S or "val_loss" in line:
            self._print(now)

    def say(self, text: str) -> None:
        self._print(time.monotonic())
        self._console.print(text, markup=False)

    def _print(self, now: float) -> None:
        if self._unprinted:
            self._console.print(self._unprinted)
            self._unprinted, self._printed = "", now

    @classmethod
    @contextmanager
    def of(cls, steps: int, *, shown: bool) -> Iterator[Display]:
        """A Watcher, or Nobody where nothing is to be shown; closed at the end."""
        if not shown:
            yield Nobody()
            return
        watcher = cls(steps)
        try:
            yield watcher
        finally:
            watcher.close()

    def close(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _text(self, step: int, now: float) -> str:
        facts, parts = self._facts, []
        if "loss" in facts:
            parts.append(f"loss {facts['loss']:.4f}")
        if "val_loss" in facts:
            parts.append(f"val {facts['val_loss']:.4f}")
        if "clips_per_s" in facts:
            parts.append(f"{facts['clips_per_s']:.3g} clips/s")
        assert self._began is not None
        began, first = self._began
        if first < step < self._steps:
            parts.append(f"{duration((now - began) / (step - first) * (self._steps - step))} left")
        return "  ".join(parts)


def duration(seconds: float) -> str:
    """'45s', '3m 20s', '2h 05m', '3d 4h'."""
    whole = round(seconds)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {whole % 60:02d}s" if minutes else f"{whole}s"
