"""A run's output, sent to its folder in chunks while it grows, so that it outlives the head.

Layout: logs/<start>/<offset>.txt, start as 20261121T004512Z and offset as 12 digits: where the
chunk begins in that start's output. The last chunk is written anew as it grows until it is full, so
that a run of days has as many objects as its log has quarters of a megabyte. A replaced head runs
the entrypoint again, as another start.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from vidgen.errors import VidgenError
from vidgen.storage.base import Store

LOGS = "logs"
_KEY = re.compile(r"(\d{8}T\d{6}Z[^/]*)/(\d{12})\.txt")


class Shipper:
    """Takes bytes, writes chunks from a thread of its own, never holds up the writer."""

    def __init__(
        self, store: Store, start: str, *, every_s: float = 2.0, chunk: int = 256 * 1024,
        most: int = 64 * 1024**2,
    ) -> None:  # fmt: skip
        self._store, self._start = store, start
        self._every_s, self._chunk, self._most = every_s, chunk, most
        self._kept = bytearray()  # the chunk that is not full yet, and what comes after it
        self._offset = 0  # of its first byte
        self._sent = 0  # how many of its bytes are in the store
        self._more = threading.Condition()
        self._closed = False
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._run, daemon=True, name="log shipper")
        self._thread.start()

    def add(self, data: bytes) -> None:
        with self._more:
            self._kept += data
            too_many = len(self._kept) - self._most
            if too_many > 0:  # the store has been away for long: newer lines matter more
                self._forget(max(self._sent, too_many))
            if len(self._kept) - self._sent >= self._chunk:
                self._more.notify()

    def close(self, timeout_s: float) -> bool:
        """Send the rest; whether everything got through in time."""
        with self._more:
            self._closed = True
            self._more.notify()
        self._thread.join(timeout_s)
        return len(self._kept) == self._sent

    def _run(self) -> None:
        while True:
            with self._more:
                if not self._closed and len(self._kept) - self._sent < self._chunk:
                    self._more.wait(self._every_s)
                data, offset = bytes(self._kept[: self._chunk]), self._offset
                news = len(data) > self._sent
                if self._closed and not news:
                    return
            if news:
                self._send(offset, data)

    def _send(self, offset: int, data: bytes) -> None:
        try:
            self._store.write(f"{LOGS}/{self._start}/{offset:012d}.txt", data)
        except VidgenError as error:
            self.problem = str(error)
            time.sleep(1)  # the bytes stay; the next round tries again
            return
        self.problem = None
        with self._more:
            # Bytes may have been dropped from the front meanwhile.
            sent = offset + len(data) - self._offset
            if sent > 0:
                self._sent = sent
                if len(data) == self._chunk:
                    self._forget(sent)

    def _forget(self, count: int) -> None:
        """Begin the next chunk `count` bytes further on."""
        del self._kept[:count]
        self._offset += count
        self._sent = 0


@dataclass(frozen=True, kw_only=True)
class Position:
    """Where a reader of shipped logs is: everything before it has been read."""

    start: str = ""
    offset: int = 0


def read_shipped(store: Store, after: Position | None = None) -> Iterator[tuple[Position, bytes]]:
    """Shipped output after a position, oldest first, each piece with the position behind it."""
    after = after or Position()
    for stat in store.list(f"{LOGS}/"):
        key = _KEY.fullmatch(stat.key.removeprefix(f"{LOGS}/"))
        if key is None:
            continue
        start, begin = key[1], int(key[2])
        if (start, begin + stat.size) <= (after.start, after.offset):
            continue
        data = store.read(stat.key)
        end = begin + len(data)  # it may have grown since it was listed
        if start == after.start:
            data = data[max(0, after.offset - begin) :]
        after = Position(start=start, offset=end)
        yield after, data
