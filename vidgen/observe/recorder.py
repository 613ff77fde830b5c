"""metrics.jsonl of a run: one JSON object a line, on a local disk or in an object store.

Whatever else wants the numbers is a Sink: the exporter on every rank, trackers on rank 0.
"""

from __future__ import annotations

import errno
import json
import math
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from vidgen.errors import Diverged, Interrupted, StorageError
from vidgen.observe.metric_table import Outcome
from vidgen.observe.sink import Sink
from vidgen.storage.local import LocalStore
from vidgen.storage.run_folder import METRICS, RunFolder

_UPLOAD_EVERY_S = 30.0
_UPLOAD_SHARE = 0.02  # of the time, at most, once the file has grown large

Line = dict[str, Any]


class Recorder:
    """Appends lines to metrics.jsonl and hands each to `show` and the sinks.

    Lines after `step` are dropped when it opens: they belong to steps that are about to be done
    again. In an object store, which cannot append, the file is kept locally and uploaded in the
    background every half minute, at `flush` and at the end. The first line of each opening
    counts the `starts` of the run.

    Args:
        folder: the run; None writes no file (ranks other than 0).
        step: steps done so far.
        show: called with every line.
        sinks: called with every line, also where there is no folder; closed at the end.
    """

    def __init__(
        self,
        folder: RunFolder | None,
        *,
        step: int,
        show: Callable[[Line], None],
        sinks: Sequence[Sink] = (),
    ) -> None:
        self._folder, self._show, self._sinks = folder, show, sinks
        self._noted: dict[str, float] = {}
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._uploads: ThreadPoolExecutor | None = None
        self._upload: Future[None] | None = None
        self._upload_after = 0.0
        if folder is None:
            return
        lines = list(folder.metrics())
        kept = [line for line in lines if line["step"] <= step]
        if isinstance(folder.store, LocalStore):
            self._path = folder.store.root / METRICS
        else:
            self._scratch = tempfile.TemporaryDirectory(prefix="vidgen-metrics-")
            self._path = Path(self._scratch.name) / METRICS
            self._uploads = ThreadPoolExecutor(1, thread_name_prefix="metrics-upload")
        text = "".join(_encode(line) for line in kept)
        if isinstance(folder.store, LocalStore):
            folder.store.write(METRICS, text.encode())
        else:
            self._path.write_text(text, encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        starts, self._preemptions = (
            max((line.get(name, 0) for line in lines), default=0)
            for name in ("starts", "preemptions")
        )
        self.note(step, {"starts": starts + 1})

    def note(self, step: int, values: dict[str, float]) -> None:
        """Record values with the next line; sinks have them at once."""
        for sink in self._sinks:
            sink.line(step, values)
        self._noted |= values

    def preempted(self, step: int) -> None:
        """Count, over the whole life of the run, that it has to leave its nodes."""
        if self._folder is not None:
            self._preemptions += 1
            self.write(step, {"preemptions": self._preemptions})

    def laps(self, laps: Mapping[str, Sequence[float]]) -> None:
        """Seconds of each step and phase since the last call; for sinks alone."""
        for sink in self._sinks:
            sink.laps(laps)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record a step's values, without any that is not finite (the norm of an fp16 overflow)."""
        if not values:
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        for sink in self._sinks:
            sink.line(step, finite)
        if self._folder is None:
            return
        line: Line = {"step": step, "time": time.time(), **finite, **self._noted}
        self._noted.clear()
        self._append(line)
        self._show(line)
        if self._uploads is not None and time.monotonic() > self._upload_after:
            if self._upload is not None and not self._upload.done():
                return
            self._upload_after = time.monotonic() + _UPLOAD_EVERY_S
            self._upload = self._uploads.submit(self._send)

    def _append(self, line: Line) -> None:
        try:
            self._file.write(_encode(line))
            self._file.flush()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise StorageError(
                f"{'disk full' if full else error.strerror} while writing {self._path}",
                fix="Free some space and run the same command again.",
            ) from None

    def flush(self) -> None:
        """Bring the object store up to date. Raises StorageError."""
        if self._uploads is not None:
            self._uploads.submit(self._send).result()

    def _send(self) -> None:
        assert self._folder is not None
        began = time.monotonic()
        self._folder.store.write(METRICS, self._path)
        done = time.monotonic()
        self._upload_after = done + max(_UPLOAD_EVERY_S, (done - began) / _UPLOAD_SHARE)

    def __enter__(self) -> Recorder:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        outcome = outcome_of(kind)
        for sink in self._sinks:
            sink.close(outcome)
        if self._folder is None:
            return
        try:
            if kind is None:
                self.flush()
        finally:
            self._file.close()
            if self._uploads is not None:
                self._uploads.shutdown()
            if self._scratch is not None:
                self._scratch.cleanup()


def outcome_of(kind: type[BaseException] | None) -> Outcome:
    """How a run ended, from what it raised."""
    if kind is None:
        return "done"
    if issubclass(kind, Interrupted | KeyboardInterrupt):
        return "interrupted"
    return "not_finite" if issubclass(kind, Diverged) else "failed"


def _encode(line: Line) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
