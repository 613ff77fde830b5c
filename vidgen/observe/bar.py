"""A progress bar for work that is counted: clips, videos, measurements."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

Tell = Callable[[str, int, int], None]  # what is being done, how many are done, of how many


def nobody(what: str, done: int, total: int) -> None:
    """A Tell that nobody hears."""


class _Rate(ProgressColumn):
    """Finished per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f}/s" if task.speed else "-/s")


@contextmanager
def bar(title: str) -> Iterator[Tell]:
    """A progress bar on stderr with rate and time left.

    Nothing is shown where stderr is no terminal.
    """
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[what]}"),
    )
    shown = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:
        task = progress.add_task(title, total=None, what="")
        yield lambda what, done, total: progress.update(
            task, completed=done, total=total, what=what
        )
