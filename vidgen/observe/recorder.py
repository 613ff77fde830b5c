"""metrics.jsonl of a run: one JSON object a line, on a local disk or in an object store."""

from __future__ import annotations

import errno
import json
import math
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

from vidgen.errors import StorageError
from vidgen.storage.local import LocalStore
from vidgen.storage.run_folder import METRICS, RunFolder

_UPLOAD_EVERY_S = 30.0
_UPLOAD_SHARE = 0.02  # of the time, at most, once the file has grown large

Line = dict[str, Any]


class Recorder:
    """Appends lines to metrics.jsonl and hands each to `show`.

    Lines after `step` are dropped when it opens: they belong to steps that are about to be done
    again. In an object store, which cannot append, the file is kept locally and uploaded in the
    background every half minute, at `flush` and at the end.

    Args:
        folder: the run; None records nothing (ranks other than 0).
        step: steps done so far.
        show: called with every line.
    """

    def __init__(
        self, folder: RunFolder | None, *, step: int, show: Callable[[Line], None]
    ) -> None:
        self._folder, self._show = folder, show
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._uploads: ThreadPoolExecutor | None = None
        self._upload: Future[None] | None = None
        self._upload_after = 0.0
        if folder is None:
            return
        kept = [line for line in folder.metrics() if line["step"] <= step]
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

    def write(self, step: int, values: dict[str, float]) -> None:
        """Record a step's values, without any that is not finite (the norm of an fp16 overflow)."""
        if self._folder is None or not values:
            return
        finite = {name: value for name, value in values.items() if math.isfinite(value)}
        line: Line = {"step": step, "time": time.time(), **finite}
        try:
            self._file.write(_encode(line))
            self._file.flush()
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            raise StorageError(
                f"{'disk full' if full else error.strerror} while writing {self._path}",
                fix="Free some space and run the same command again.",
            ) from None
        self._show(line)
        if self._uploads is not None and time.monotonic() > self._upload_after:
            if self._upload is not None and not self._upload.done():
                return
            self._upload_after = time.monotonic() + _UPLOAD_EVERY_S
            self._upload = self._uploads.submit(self._send)

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

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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


def _encode(line: Line) -> str:
    return json.dumps(line, allow_nan=False) + "\n"
