"""What has been done so far, kept in DEST so that a killed run goes on where it stopped.

Records are collected and written as numbered parts; object stores cannot append. When all is done
the parts become one.
"""

from __future__ import annotations

import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor

from vidgen.data.cut import Record
from vidgen.storage.base import Store

_ALL = "journal/all.jsonl"
_EVERY_S = 1.0  # at most this much work is done again after a kill


class Journal:
    """The records of a DEST."""

    def __init__(self, dest: Store) -> None:
        self.dest = dest
        self._name = secrets.token_hex(4)  # two runs at once do not overwrite each other
        self._parts = 0
        self._unsaved: list[Record] = []
        self._saved_at = time.monotonic()

    def load(self) -> dict[str, Record]:
        """Newest record of each source."""
        keys = sorted(self._keys(), key=lambda key: key != _ALL)
        with ThreadPoolExecutor(16) as pool:
            texts = [*pool.map(self.dest.read, keys)]
        lines = [json.loads(line) for text in texts for line in text.decode().splitlines()]
        return {line["source"]: Record.from_json(line) for line in lines}

    def add(self, record: Record) -> None:
        """Keep a record; it is on disk after a second at most, or after `save`."""
        self._unsaved.append(record)
        if time.monotonic() - self._saved_at > _EVERY_S:
            self.save()

    def save(self) -> None:
        """Write what is not written yet."""
        if self._unsaved:
            self.dest.write(f"journal/{self._name}-{self._parts:06d}.jsonl", _lines(self._unsaved))
            self._parts += 1
            self._unsaved = []
        self._saved_at = time.monotonic()

    def compact(self, records: list[Record]) -> None:
        """Make one part of everything."""
        parts = [key for key in self._keys() if key != _ALL]
        self.dest.write(_ALL, _lines(sorted(records, key=lambda record: record.source)))
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(self.dest.delete, parts))
        self._unsaved = []

    def _keys(self) -> list[str]:
        return [stat.key for stat in self.dest.list("journal/")]


def _lines(records: list[Record]) -> bytes:
    return "".join(json.dumps(record.to_json()) + "\n" for record in records).encode()
