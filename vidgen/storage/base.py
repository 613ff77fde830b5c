"""Store: the five things vidgen needs of a place that keeps bytes, plus delete."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


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
    def read_range(self, key: str, start: int, length: int) -> bytes:
        """Exactly `length` bytes from `start`; StorageError if the object is shorter."""

    @abstractmethod
    def write(self, key: str, data: bytes | Path) -> None:
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
