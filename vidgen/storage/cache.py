"""A folder on the local disk that keeps ranges of remote objects, shared by a node's processes."""

from __future__ import annotations

import fcntl
import hashlib
import logging
import os
import secrets
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidgen.storage.base import Stat, Store

_CHECK = 4  # bytes of the checksum at the end of each file
_LOCK, _USED = "lock", "used"
_FULL_TO = 0.8  # of the limit is left after making room
_STALE = 600  # seconds
_LARGEST = 0.25  # of the limit; a larger range would push out too much

log = logging.getLogger(__name__)


class CachedStore(Store):
    """Reads through: a range of one version of an object (its etag) is fetched once per node.

    A range is a file named by the hash of (url, key, etag, start, length), written aside and
    renamed, so that a reader sees all of it or none; a checksum finds what a power cut left. The
    files never take more than `limit` bytes; what was not used for longest goes first. Everything
    else, and ranges of objects of which no etag is known, goes straight to the store.
    """

    def __init__(self, store: Store, folder: Path | str, limit: int) -> None:
        self.store, self.folder, self.limit = store, Path(folder).absolute(), limit
        self.url = store.url
        self._broken = False

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        if etag is None or length > self.limit * _LARGEST:
            return self.store.read_range(key, start, length, etag=etag)
        name = "\0".join((self.url, key, etag, str(start), str(length)))
        path = self._path(hashlib.sha256(name.encode()).hexdigest())
        data = _read(path, length)
        if data is not None:
            return data
        data = self.store.read_range(key, start, length, etag=etag)
        if not self._broken:
            try:
                self._keep(path, data)
            except OSError as error:  # full or read-only: training goes on, at the network's speed
                self._broken = True
                log.warning("cache %s is not used any more: %s", self.folder, error)
        return data

    def read(self, key: str) -> bytes:
        return self.store.read(key)

    def write(self, key: str, data: bytes | memoryview | Path) -> None:
        self.store.write(key, data)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        return self.store.list(prefix)

    def stat(self, key: str) -> Stat:
        return self.store.stat(key)

    def delete(self, key: str) -> None:
        self.store.delete(key)

    def sub(self, prefix: str) -> CachedStore:
        return CachedStore(self.store.sub(prefix), self.folder, self.limit)

    def _path(self, digest: str) -> Path:
        return self.folder / digest[:2] / digest[2:]

    def _keep(self, path: Path, data: bytes) -> None:
        size = len(data) + _CHECK
        path.parent.mkdir(parents=True, exist_ok=True)
        # The file appears under the lock: what another process counts when it makes room is all
        # there is, and nobody's file is promised but not yet there.
        with self._locked():
            used = self._used() + size
            if used > self.limit:
                used = self._make_room(int(self.limit * _FULL_TO) - size) + size
            part = self.folder / f"{secrets.token_hex(8)}.part"
            try:
                with part.open("xb") as file:
                    file.write(data)
                    file.write(zlib.crc32(data).to_bytes(_CHECK, "big"))
                os.replace(part, path)
            except BaseException:
                with suppress(OSError):  # the first error is the one to show
                    part.unlink(missing_ok=True)
                raise
            (self.folder / _USED).write_text(str(used))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """One process of the node at a time."""
        with (self.folder / _LOCK).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def _used(self) -> int:
        """Bytes accounted for; counted when there is no account, or a broken one."""
        try:
            return int((self.folder / _USED).read_text())
        except (FileNotFoundError, ValueError):
            return sum(size for _, size, _ in self._files())

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of every kept range."""
        for folder in self.folder.iterdir():
            if folder.is_dir():
                for path in folder.iterdir():
                    with suppress(FileNotFoundError):
                        status = path.stat()
                        yield status.st_mtime, status.st_size, path

    def _make_room(self, target: int) -> int:
        """Delete what was not used for longest down to `target` bytes; returns what is left."""
        for part in self.folder.glob("*.part"):  # of processes that died while writing
            with suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime > _STALE:
                    part.unlink()
        files = sorted(self._files())
        left = sum(size for _, size, _ in files)
        for _, size, path in files:
            if left <= target:
                break
            path.unlink(missing_ok=True)
            left -= size
        return left


def _read(path: Path, length: int) -> bytes | None:
    """A kept range, marked as used now; None if it is not there or damaged."""
    try:
        data = path.read_bytes()
        os.utime(path)
    except OSError:
        return None
    body, check = data[:-_CHECK], data[-_CHECK:]
    if len(body) != length or zlib.crc32(body).to_bytes(_CHECK, "big") != check:
        return None
    return body
