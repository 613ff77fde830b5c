"""Ctrl-C and SIGTERM: finish the step, save, then leave."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType


class Stop:
    """Notes SIGINT and SIGTERM while it is open; a second Ctrl-C interrupts at once.

    Outside the main thread no signals arrive and `request` is the only way to stop.
    """

    def __init__(self, on_request: Callable[[], None] = lambda: None) -> None:
        self._requested = threading.Event()
        self._on_request = on_request
        self._before: dict[int, object] = {}

    def requested(self) -> bool:
        return self._requested.is_set()

    def request(self) -> None:
        if not self._requested.is_set():
            self._requested.set()
            self._on_request()

    def __enter__(self) -> Stop:
        self.listen()
        return self

    def listen(self) -> None:
        """Hear signals, also those that something else has begun to take since (Ray does)."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                before = signal.signal(number, self._handle)
                self._before.setdefault(number, before)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before.clear()

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.request()
