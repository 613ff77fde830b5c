"""What the recorder hands numbers to, besides metrics.jsonl."""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping, Sequence

from vidgen.observe.metric_table import Outcome

_log = logging.getLogger(__name__)
_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_URL_USER = re.compile(r"(?<=://)[^/\s@]+@")
_WAITING = 1000  # lines; what is slower than that loses some
_LAST_S = 30.0  # for what is still waiting when a run ends


class Sink:
    """Takes what a run measures. Every method is called by one thread."""

    def line(self, step: int, values: Mapping[str, float]) -> None:
        """A line of metrics.jsonl: numbers by name, all finite."""

    def laps(self, laps: Mapping[str, Sequence[float]]) -> None:
        """Seconds of each step and phase since the last call."""

    def close(self, outcome: Outcome) -> None:
        """The run has ended."""


class Beside(Sink):
    """A sink in a thread of its own, which may be slow or fail: training does not notice.

    The first failure is logged, without secrets, and ends it; of more than a thousand waiting
    lines the newest are dropped.

    Args:
        name: for the log.
        make: builds the sink, in the thread.
    """

    def __init__(self, name: str, make: Callable[[], Sink]) -> None:
        self._name, self._make = name, make
        self._waiting: queue.Queue[Callable[[Sink], None] | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def line(self, step: int, values: Mapping[str, float]) -> None:
        kept = dict(values)
        try:
            self._waiting.put_nowait(lambda sink: sink.line(step, kept))
        except queue.Full:
            self._dropped += 1

    def close(self, outcome: Outcome) -> None:
        if self._dropped:
            _log.warning("%s was too slow: %d lines are missing there", self._name, self._dropped)
        for each in (lambda sink: sink.close(outcome), None):
            try:
                self._waiting.put(each, timeout=_LAST_S)
            except queue.Full:
                break
        self._thread.join(_LAST_S)

    def _work(self) -> None:
        try:
            sink = self._make()
            while (work := self._waiting.get()) is not None:
                work(sink)
        except Exception as error:
            _log.warning(
                "%s gets no more numbers, training goes on: %s", self._name, without_secrets(error)
            )
            while self._waiting.get() is not None:
                pass


def without_secrets(error: object) -> str:
    """A message without the values of secret environment variables, or users in urls."""
    text = _URL_USER.sub("***@", f"{type(error).__name__}: {error}")
    for name, value in os.environ.items():
        if len(value) >= 6 and _SECRET_NAME.search(name):
            text = text.replace(value, "***")
    return text.replace("\n", " ")
