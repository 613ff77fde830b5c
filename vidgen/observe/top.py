"""`vidgen top`: runs as a table that keeps itself up to date."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.table import Table

from vidgen.observe.progress import duration
from vidgen.observe.run_view import RunView

_COLORS = {"running": "green", "silent": "yellow", "failed": "red", "not_finite": "red"}
_MUCH_WAIT = 0.3


def watch(look: Callable[[], list[RunView]], *, every_s: float, console: Console) -> None:
    """Show what `look` finds, again and again, until Ctrl-C; once where nobody watches."""
    if not console.is_terminal:
        console.print(as_table(look()))
        return
    try:
        with Live(as_table(look()), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(as_table(look()), refresh=True)
    except KeyboardInterrupt:
        return


def as_table(views: list[RunView]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("run", "state", "step", "left", "loss", "val", "clips/s", "s/step", "data wait"):
        table.add_column(name, justify="left" if name in ("run", "state") else "right")
    for name in ("MFU", "GPU", "starts", "last step"):
        table.add_column(name, justify="right")
    for view in views:
        color = _COLORS.get(view.state, "")
        waiting = view.wait_share is not None and view.wait_share > _MUCH_WAIT
        table.add_row(
            view.name,
            f"[{color}]{view.state}[/]" if color else view.state,
            f"{view.step}/{view.steps}" if view.steps else str(view.step),
            _seconds(view.left_s),
            _number(view.loss, ".4f"),
            _number(view.val_loss, ".4f"),
            _number(view.clips_per_s, ".3g"),
            _number(view.step_s, ".3g"),
            f"[yellow]{_number(view.wait_share, '.0%')}[/]"
            if waiting
            else _number(view.wait_share, ".0%"),
            _number(view.mfu, ".1%"),
            _number(view.gpu, ".0%"),
            _number(view.starts, "d"),
            f"{_seconds(view.idle_s)} ago" if view.idle_s is not None else "-",
        )
    return table


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _seconds(value: float | None) -> str:
    return "-" if value is None else duration(max(0.0, value))
