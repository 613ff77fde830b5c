"""A local folder as a Store. A reader never sees a half-written file."""

from __future__ import annotations

import builtins
import errno
import os
import secrets
import shutil
import stat as stat_module
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vidgen.errors import AccessDenied, NotFoundInStore, StorageError, StorageFull
from vidgen.storage.base import Stat, Store, check_key
from vidgen.storage.tally import TALLY

# Files being written carry this name until they are whole; `list` never shows them.
_PART_PREFIX, _PART_SUFFIX = ".vidgen-", ".part"


class LocalStore(Store):
    """Files below a folder; the folder need not exist before the first write."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root).absolute()
        self.url = str(self.root)

    def read(self, key: str) -> bytes:
        path = self._path(key)
        with _explained(path), TALLY.reading() as read:
            read.append(path.read_bytes())
        return read[0]

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        path = self._path(key)
        with _explained(path), TALLY.reading() as read, path.open("rb") as file:
            status = os.fstat(file.fileno())
            if etag is not None and _etag(status) != etag:
                raise StorageError(
                    f"{path} changed while it was being read", fix="Run the command again."
                )
            file.seek(start)
            data = file.read(length)
            read.append(data)
        if len(data) != length:
            raise StorageError(
                f"{path} has {status.st_size} bytes", expected=f"at least {start + length}"
            )
        return data

    def write(self, key: str, data: bytes | memoryview | Path) -> None:
        path = self._path(key)
        part = path.parent / f"{_PART_PREFIX}{secrets.token_hex(8)}{_PART_SUFFIX}"
        with _explained(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with part.open("xb") as file:
                    if isinstance(data, Path):
                        with data.open("rb") as source:
                            shutil.copyfileobj(source, file, 1024**2)
                    else:
                        file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(part, path)
            except BaseException:
                with suppress(OSError):  # the first error is the one to show
                    part.unlink(missing_ok=True)
                raise
            _sync_folder(path.parent)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        folder, _, _ = prefix.rpartition("/")
        start = self._path(folder) if folder else self.root
        yield from self._walk(start, f"{folder}/" if folder else "", prefix)

    def stat(self, key: str) -> Stat:
        path = self._path(key)
        with _explained(path):
            status = path.stat()
        if not stat_module.S_ISREG(status.st_mode):
            raise NotFoundInStore(f"{path} is not a regular file")
        return Stat(key=key, size=status.st_size, etag=_etag(status))

    def delete(self, key: str) -> None:
        path = self._path(key)
        with _explained(path):
            path.unlink(missing_ok=True)

    def sub(self, prefix: str) -> LocalStore:
        return LocalStore(self._path(prefix.strip("/")))

    @contextmanager
    def as_file(self, key: str) -> Iterator[Path]:
        path = self._path(key)
        with _explained(path):
            path.stat()
        yield path

    def irregular(self) -> builtins.list[str]:
        """Sorted keys of what `list` leaves out: pipes, sockets, devices, links to nowhere."""
        found = []
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder, name)
                if not path.is_file() and not _is_part(name):
                    found.append(path.relative_to(self.root).as_posix())
        return sorted(found)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key, self.url)

    def _walk(self, folder: Path, at: str, prefix: str) -> Iterator[Stat]:
        try:
            with _explained(folder), os.scandir(folder) as entries:
                # 'a-b' sorts before 'a/c': a folder takes its place by name plus '/'.
                ordered = sorted(
                    (entry.name + "/" if entry.is_dir(follow_symlinks=False) else entry.name, entry)
                    for entry in entries
                )
        except NotFoundInStore:
            return  # like a prefix of an object store, a missing folder is empty
        for name, entry in ordered:
            key = at + name
            if name.endswith("/"):
                if key.startswith(prefix) or prefix.startswith(key):
                    yield from self._walk(folder / entry.name, key, prefix)
            elif key.startswith(prefix) and not _is_part(name):
                try:
                    status = entry.stat()
                except OSError:
                    continue  # a link to nowhere, or deleted meanwhile
                if stat_module.S_ISREG(status.st_mode):
                    yield Stat(key=key, size=status.st_size, etag=_etag(status))


def _is_part(name: str) -> bool:
    return name.startswith(_PART_PREFIX) and name.endswith(_PART_SUFFIX)


def _etag(status: os.stat_result) -> str:
    return f"{status.st_mtime_ns:x}-{status.st_size:x}"


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut: a commit marker must not outlive what it marks."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn an OSError into the StorageError a user can act on."""
    try:
        yield
    except FileNotFoundError:
        raise NotFoundInStore(f"{path} does not exist") from None
    except OSError as error:
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise AccessDenied(
                f"no permission for {path}: {error.strerror}",
                fix="Choose a folder you may use, or change its permissions.",
            ) from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StorageFull(
                f"disk full while writing {path}",
                fix="Free some space or choose another folder; nothing written before is lost.",
            ) from None
        raise StorageError(f"cannot use {path}: {error.strerror or error}") from None
