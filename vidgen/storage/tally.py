"""What this process has asked of stores, counted for the exporter and for `vidgen explain`."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Totals.

    Attributes:
        read_bytes, read_s: read from stores, and the seconds that took, of all threads together.
        requests, retries: to object stores, and those among them that were tried again.
        decode_s: seconds in which decoders worked on what was read.
    """

    read_bytes: int = 0
    read_s: float = 0.0
    requests: int = 0
    retries: int = 0
    decode_s: float = 0.0

    def __add__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) + getattr(other, f.name) for f in _FIELDS})

    def __sub__(self, other: Counts) -> Counts:
        return Counts(**{f.name: getattr(self, f.name) - getattr(other, f.name) for f in _FIELDS})


_FIELDS = fields(Counts)


class Tally:
    """Counts from several threads; decoder processes send theirs with their results."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()

    def add(self, more: Counts) -> None:
        with self._lock:
            self._counts += more

    @contextmanager
    def reading(self) -> Iterator[list[bytes]]:
        """Count what is put into the list, and the time inside."""
        read: list[bytes] = []
        began = time.perf_counter()
        try:
            yield read
        finally:
            took = time.perf_counter() - began
            self.add(Counts(read_bytes=sum(map(len, read)), read_s=took))

    def counts(self) -> Counts:
        return self._counts


TALLY = Tally()
