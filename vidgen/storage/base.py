"""Store: the five things vidgen needs of a place that keeps bytes, plus delete."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vidgen.errors import StorageError

_CHUNK = 8 * 1024**2  # bytes per request when an object is copied to a file


@dataclass(frozen=True, kw_only=True)
class Stat:
    """One object.

    Attributes:
        key: its name below the store's root, '/'-separated.
        size: bytes.
        etag: changes when the content changes (S3 ETag; mtime and size for files).
    """

    key: str
    size: int
    etag: str


class Store(ABC):
    """A folder of bytes: local or in an object store. Safe to use from several threads, picklable.

    Keys are relative, '/'-separated, without '..'. Errors: NotFoundInStore, AccessDenied,
    StorageError; each names the full url.
    """

    url: str  # of the root, without a trailing '/'

    @abstractmethod
    def read(self, key: str) -> bytes:
        """The whole object."""

    @abstractmethod
    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        """Exactly `length` bytes from `start`.

        Raises StorageError if the object is shorter, or is no longer the one with `etag`.
        """

    @abstractmethod
    def write(self, key: str, data: bytes | memoryview | Path) -> None:
        """Create or replace an object: bytes, or a local file's content. All or nothing."""

    @abstractmethod
    def list(self, prefix: str = "") -> Iterator[Stat]:
        """Every object whose key starts with `prefix`, sorted by key."""

    @abstractmethod
    def stat(self, key: str) -> Stat:
        """Size and etag of one object."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove an object; no error if it does not exist."""

    @abstractmethod
    def sub(self, prefix: str) -> Store:
        """The store rooted at `prefix` below this one."""

    def as_file(self, key: str) -> AbstractContextManager[Path]:
        """A local file with the object's content while the context lasts; do not write to it."""
        return self._downloaded(key)

    def where(self, key: str) -> str:
        """The full url of an object, for messages."""
        return f"{self.url}/{key}"

    @contextmanager
    def _downloaded(self, key: str) -> Iterator[Path]:
        stat = self.stat(key)
        with tempfile.TemporaryDirectory(prefix="vidgen-") as folder:
            # Keep the suffix: demuxers use it as a hint.
            path = Path(folder, "object" + PurePosixPath(key).suffix[:16])
            with path.open("wb") as file:
                for start in range(0, stat.size, _CHUNK):
                    length = min(_CHUNK, stat.size - start)
                    file.write(self.read_range(key, start, length, etag=stat.etag))
            yield path


def check_key(key: str, store_url: str) -> str:
    """Return `key` if it names something below a store's root; raise StorageError otherwise."""
    parts = key.split("/")
    if "\0" in key or any(part in ("", ".", "..") for part in parts):
        raise StorageError(
            f"not a valid name inside {store_url}: {key!r}",
            expected="a relative, '/'-separated name without empty, '.' or '..' parts",
        )
    return key
