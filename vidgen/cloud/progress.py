"""How far a run is, from the end of its metrics.jsonl; how far a sweep is, from its sweep.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from vidgen.errors import NotFoundInStore, VidgenError
from vidgen.storage.base import Store
from vidgen.storage.run_folder import METRICS

_TAIL = 128 * 1024  # bytes; hundreds of lines, enough for a speed


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        step, steps: done, and to do in all (0: unknown).
        loss: last one logged, None before the first.
        steps_per_s: over the last lines; None with fewer than two.
        time: unix seconds of the last line.
    """

    step: int
    steps: int
    loss: float | None
    steps_per_s: float | None
    time: float

    @property
    def seconds_left(self) -> float | None:
        if not self.steps_per_s or not self.steps:
            return None
        return max(0, self.steps - self.step) / self.steps_per_s


def read_progress(store: Store, steps: int) -> Progress | None:
    """Progress of the run in `store`, or None before its first line. Raises StorageError."""
    try:
        stat = store.stat(METRICS)
        start = max(0, stat.size - _TAIL)
        text = store.read_range(METRICS, start, stat.size - start).decode("utf-8", errors="replace")
    except NotFoundInStore:
        return None
    lines = text.split("\n")
    # The first line is cut unless it is the file's; the last one is not written whole yet.
    return _progress([json.loads(line) for line in lines[1 if start else 0 : -1]], steps)


def _progress(rows: list[dict[str, Any]], steps: int) -> Progress | None:
    trained = [row for row in rows if "step" in row and "time" in row]
    if not trained:
        return None
    last = trained[-1]
    losses = [row["loss"] for row in trained if isinstance(row.get("loss"), int | float)]
    return Progress(
        step=int(last["step"]),
        steps=steps,
        loss=float(losses[-1]) if losses else None,
        steps_per_s=_speed(trained[-20:]),
        time=float(last["time"]),
    )


def _speed(rows: list[dict[str, Any]]) -> float | None:
    """Steps a second over rows of one uninterrupted stretch: after a resume, steps go back."""
    begin = len(rows) - 1
    while begin > 0 and rows[begin - 1]["step"] < rows[begin]["step"]:
        begin -= 1
    steps = rows[-1]["step"] - rows[begin]["step"]
    seconds = rows[-1]["time"] - rows[begin]["time"]
    return steps / seconds if steps > 0 and seconds > 0 else None


def sweep_progress(store: Store) -> str:
    """'18 trials: 3 waiting, 2 running, 13 done; best val_loss 0.0812 (t004)'.

    A store out of reach must not hide a sweep's state.
    """
    try:
        found = json.loads(store.read("sweep.json"))
        states = ", ".join(f"{count} {state}" for state, count in found["trials"].items() if count)
        best = found["best"]
        shown = f"; best {found['metric']} {best['score']:.4g} ({best['trial']})" if best else ""
        return f"{found['wanted']} trials: {states}{shown}"
    except NotFoundInStore:
        return "no trial started yet"
    except (VidgenError, ValueError, KeyError) as error:
        return f"cannot be read from here: {error}"


def try_progress(store: Store, steps: int) -> tuple[Progress | None, str]:
    """(progress, why there is none): a store out of reach must not hide a run's state."""
    try:
        found = read_progress(store, steps)
    except (VidgenError, ValueError) as error:
        return None, f"cannot be read from here: {error}"
    return found, "" if found else "no step logged yet"
