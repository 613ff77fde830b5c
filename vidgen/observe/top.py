"""`vidgen top`: runs as a table that keeps itself up to date."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.table import Table

from vidgen.observe.progress import duration
from vidgen.observe.run_view import RunView

_COLORS = {"running": "green", "silent": "yellow", "failed": "red", "not_finite": "red"}
_MUCH_WAIT = 0.3  # of a step, for data
_UNKNOWN = "-"
_WIDE = 110  # characters; on narrower screens these columns are left out
_LESS = ("s/step", "MFU", "starts")


def watch(look: Callable[[], list[RunView]], *, every_s: float, console: Console) -> None:
    """Show what `look` finds, again and again, until Ctrl-C; once where nobody watches."""
    if not console.is_terminal:
        console.print(as_table(look(), console.width))
        return
    try:
        with Live(as_table(look(), console.width), console=console, auto_refresh=False) as live:
            while True:
                time.sleep(every_s)
                live.update(as_table(look(), console.width), refresh=True)
    except KeyboardInterrupt:
        return


def as_table(views: list[RunView], width: int) -> Table:
    """One row a run. Columns that nobody has a value for are left out, and some on narrow screens.

    Args:
        width: of the screen, in characters.
    """
    rows = [_row(view) for view in views]
    table = Table(box=None, pad_edge=False, header_style="bold")
    shown = [
        name
        for name in (rows[0] if rows else ())
        if any(row[name] != _UNKNOWN for row in rows) and (width >= _WIDE or name not in _LESS)
    ]
    for name in shown:
        words = name in ("run", "state")
        table.add_column(name, justify="left" if words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[name] for name in shown))
    return table


def _row(view: RunView) -> dict[str, str]:
    color = _COLORS.get(view.state, "")
    wait = _number(view.wait_share, ".0%")
    return {
        "run": escape(view.name),
        "state": f"[{color}]{view.state}[/]" if color else view.state,
        "step": f"{view.step}/{view.steps}" if view.steps else str(view.step),
        "left": _seconds(view.left_s),
        "loss": _number(view.loss, ".4f"),
        "val": _number(view.val_loss, ".4f"),
        "clips/s": _number(view.clips_per_s, ".3g"),
        "s/step": _number(view.step_s, ".3g"),
        "wait": f"[yellow]{wait}[/]" if (view.wait_share or 0) > _MUCH_WAIT else wait,
        "MFU": _number(view.mfu, ".1%"),
        "GPU": _number(view.gpu, ".0%"),
        "starts": _number(view.starts, "d"),
        "last": f"{_seconds(view.idle_s)} ago" if view.idle_s is not None else _UNKNOWN,
    }


def _number(value: float | None, form: str) -> str:
    return _UNKNOWN if value is None else format(value, form)


def _seconds(value: float | None) -> str:
    return _UNKNOWN if value is None else duration(max(0.0, value))
