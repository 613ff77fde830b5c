"""What this process has asked of stores, counted for the exporter."""

from __future__ import annotations

import threading
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Totals: bytes read, requests to object stores, and requests that were tried again."""

    read_bytes: int = 0
    requests: int = 0
    retries: int = 0

    def __sub__(self, other: Counts) -> Counts:
        return Counts(
            read_bytes=self.read_bytes - other.read_bytes,
            requests=self.requests - other.requests,
            retries=self.retries - other.retries,
        )


class Tally:
    """Counts from several threads; decoder processes send theirs with their results."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = Counts()

    def add(self, *, read_bytes: int = 0, requests: int = 0, retries: int = 0) -> None:
        with self._lock:
            now = self._counts
            self._counts = Counts(
                read_bytes=now.read_bytes + read_bytes,
                requests=now.requests + requests,
                retries=now.retries + retries,
            )

    def add_all(self, counts: Counts) -> None:
        self.add(read_bytes=counts.read_bytes, requests=counts.requests, retries=counts.retries)

    def counts(self) -> Counts:
        return self._counts


TALLY = Tally()
