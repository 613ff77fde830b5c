"""Where the processes of a node leave their series, for one port to serve them all.

A folder per port, in the node's folder for temporary files. Each process has, under one name,

    OWNER.STARTED.lock    held (flock) for as long as it lives, by the kernel and nobody else
    OWNER.STARTED.prom    its series, replaced as a whole
    OWNER.STARTED.ended   there once it said that it had finished

so a killed process is gone the moment it dies, whatever it left behind. OWNER is a digest of its
labels: of two processes that say they are the same rank of the same run, the newer one counts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PORT_ENV = "VIDGEN_METRICS_PORT"
LINGER_ENV = "VIDGEN_METRICS_LINGER_S"
LINGER_S = 60.0  # a finished process is shown so long, that its last values are scraped


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What one process left.

    Attributes:
        started: when, in ns.
        text: its series.
        alive: whether it runs; if not, it has ended a short while ago.
    """

    started: int
    text: str
    alive: bool


class Spool:
    """The folder of a port."""

    def __init__(self, port: int) -> None:
        self.port = port
        # For one user: who else may write here could tell lies, and follow our links.
        self.folder = Path(tempfile.gettempdir()) / f"vidgen-metrics-{os.getuid()}-{port}"
        self.folder.mkdir(mode=0o700, exist_ok=True)
        if self.folder.is_symlink() or self.folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{self.folder} belongs to somebody else")

    def entries(self, linger_s: float = LINGER_S) -> list[Entry]:
        """The newest of each owner; what dead ones left is removed."""
        newest: dict[str, Entry] = {}
        for lock in sorted(self.folder.glob("*.*.lock")):
            owner, started = lock.stem.split(".")
            alive = not _free(lock)
            try:
                text = lock.with_suffix(".prom").read_text()
            except FileNotFoundError:
                text = ""
            if not alive and not _ended_within(lock.with_suffix(".ended"), linger_s):
                # The lock goes last: what has none is not looked at.
                for suffix in (".prom", ".ended", ".lock"):
                    lock.with_suffix(suffix).unlink(missing_ok=True)
                continue
            entry = Entry(started=int(started), text=text, alive=alive)
            if owner not in newest or newest[owner].started < entry.started:
                newest[owner] = entry
        return list(newest.values())


class Place:
    """One process's files in a spool, from now until `leave`."""

    def __init__(self, spool: Spool, labels: dict[str, str]) -> None:
        owner = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
        while True:
            self._lock_path = spool.folder / f"{owner}.{time.time_ns()}.lock"
            self._lock = self._lock_path.open("wb")
            fcntl.flock(self._lock, fcntl.LOCK_EX)
            if self._lock_path.exists():  # else a scrape took it for a dead one's in between
                return
            self._lock.close()

    def write(self, text: str) -> None:
        """Replace the series."""
        half = self._lock_path.with_suffix(".half")
        half.write_text(text)
        half.replace(self._lock_path.with_suffix(".prom"))

    def leave(self) -> None:
        """The last series stay for a while."""
        self._lock_path.with_suffix(".ended").touch()
        self._lock.close()


def merge(texts: Iterable[str]) -> str:
    """One exposition out of several: each metric once, with the series of all."""
    heads: dict[str, str] = {}
    series: dict[str, list[str]] = {}
    for text in texts:
        for block in text.split("# HELP ")[1:]:
            help_line, type_line, values = block.split("\n", 2)
            name = help_line.partition(" ")[0]
            heads.setdefault(name, f"# HELP {help_line}\n{type_line}\n")
            series.setdefault(name, []).append(values)
    return "".join(heads[name] + "".join(series[name]) for name in heads)


def try_lock(path: Path) -> IO[bytes] | None:
    """Hold a file's lock for as long as the result is open; None when another process has it."""
    file = path.open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def _free(path: Path) -> bool:
    """Whether nobody holds the lock."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True


def _ended_within(path: Path, seconds: float) -> bool:
    try:
        return time.time() - path.stat().st_mtime < seconds
    except FileNotFoundError:
        return False
