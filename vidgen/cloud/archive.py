"""User code as a content-addressed zip: the same files give the same bytes, name and upload.

.git, caches and what .gitignore or .vidgenignore name stay out, .env files too: code archives are
readable to everyone who may read the bucket.
"""

from __future__ import annotations

import hashlib
import io
import os
import stat
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pathspec

from vidgen.errors import ConfigError, NotFoundInStore
from vidgen.storage.base import Store

ALWAYS_OUT = [".git", "__pycache__/", "*.pyc", ".venv/", ".env", ".env.*", ".ssh/", "*.pem"]
IGNORE_FILES = (".gitignore", ".vidgenignore")
LARGEST = 256 * 1024**2  # bytes, packed; every pod downloads it
# Ray strips a zip's top folder when it is the only entry; this file keeps it from being alone.
_MARKER = ".vidgen-code"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # zip's first moment: mtimes must not change the hash


@dataclass(frozen=True, kw_only=True)
class Archive:
    """A packed working directory.

    Attributes:
        data: the zip.
        sha256: of data, hex.
        files: how many.
        unpacked: bytes of all files.
        largest: (path, bytes) of the largest files, largest first.
        left_out: links that lead out of the directory.
    """

    data: bytes
    sha256: str
    files: int
    unpacked: int
    largest: tuple[tuple[str, int], ...]
    left_out: tuple[str, ...]

    @property
    def key(self) -> str:
        """Below the object store's root."""
        return f"code/{self.sha256}.zip"

    def upload(self, store: Store) -> bool:
        """Write it unless it is there; whether it was written."""
        try:
            if store.stat(self.key).size == len(self.data):
                return False
        except NotFoundInStore:
            pass
        store.write(self.key, self.data)
        return True


def pack(folder: Path) -> Archive:
    """Pack a directory. Raises ConfigError: no directory, nothing in it, too large."""
    if not folder.is_dir():
        raise ConfigError(f"--working-dir: no such directory: {folder}")
    root = folder.resolve()
    files, left_out = _files(root)
    if not files:
        raise ConfigError(f"--working-dir: nothing to send in {folder}: every file is ignored")
    sizes = sorted(((name, path.stat().st_size) for name, path in files), key=lambda x: -x[1])
    unpacked = sum(size for _, size in sizes)
    if unpacked > 8 * LARGEST:
        raise _too_large(folder, unpacked, sizes)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr(_entry(_MARKER, 0o644), b"")
        for name, path in files:
            mode = 0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644
            archive.writestr(_entry(name, mode), path.read_bytes())
    data = buffer.getvalue()
    if len(data) > LARGEST:
        raise _too_large(folder, len(data), sizes)
    return Archive(
        data=data,
        sha256=hashlib.sha256(data).hexdigest(),
        files=len(files),
        unpacked=unpacked,
        largest=tuple(sizes[:3]),
        left_out=tuple(left_out),
    )


def _files(root: Path) -> tuple[list[tuple[str, Path]], list[str]]:
    """(name, path) of what to send, sorted by name; links that lead out of the directory."""
    specs: dict[Path, pathspec.GitIgnoreSpec] = {}
    found, left_out = [], []
    for here, folders, names in os.walk(root):
        folder = Path(here)
        lines = list(ALWAYS_OUT) if folder == root else []
        for ignore in IGNORE_FILES:
            if (folder / ignore).is_file():
                lines += (folder / ignore).read_text(encoding="utf-8", errors="replace").split("\n")
        if lines:
            specs[folder] = pathspec.GitIgnoreSpec.from_lines(lines)
        folders[:] = sorted(f for f in folders if not _ignored(folder / f, specs, root, "/"))
        for name in sorted(names):
            path = folder / name
            if _ignored(path, specs, root):
                continue
            if not path.resolve().is_relative_to(root):
                left_out.append(str(path.relative_to(root)))
            elif path.is_file():  # no sockets, no pipes
                found.append((path.relative_to(root).as_posix(), path))
    return sorted(found), left_out


def _ignored(
    path: Path, specs: dict[Path, pathspec.GitIgnoreSpec], root: Path, end: str = ""
) -> bool:
    """Whether the nearest ignore file that mentions the path leaves it out, as git does."""
    for folder in path.parents:
        spec = specs.get(folder)
        if spec is not None:
            verdict = spec.check_file(path.relative_to(folder).as_posix() + end).include
            if verdict is not None:
                return verdict
        if folder == root:
            break
    return False


def _entry(name: str, mode: int) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(name, date_time=_EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.external_attr = mode << 16
    return entry


def _too_large(folder: Path, size: int, sizes: list[tuple[str, int]]) -> ConfigError:
    top = ", ".join(f"{name} ({n / 1e6:.0f} MB)" for name, n in sizes[:3])
    return ConfigError(
        f"--working-dir: {folder} is {size / 1e6:.0f} MB of code; the largest: {top}",
        expected=f"at most {LARGEST / 1e6:.0f} MB packed",
        fix="Name data and outputs in .vidgenignore.",
    )
