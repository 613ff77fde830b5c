"""From a url to a Store: one row per scheme."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from vidgen.config.run import StorageConfig
from vidgen.errors import StorageError, did_you_mean
from vidgen.storage.base import Store

Opener: TypeAlias = Callable[[str, StorageConfig], Store]


def open_store(url: str | Path, storage: StorageConfig | None = None) -> Store:
    """The store at a path, file:// or s3:// url. Touches neither disk nor network yet.

    Raises StorageError for a url that cannot name a store.
    """
    text = str(url)
    if not text or "\0" in text:
        raise StorageError(f"{text!r} names no folder or bucket", expected=_EXPECTED)
    scheme, separator, _ = text.partition("://")
    if not separator:
        scheme = ""
    opener = SCHEMES.get(scheme) or _installed(scheme)
    if opener is None:
        raise StorageError(
            f"cannot open {text}: unknown scheme '{scheme}'{did_you_mean(scheme, SCHEMES)}",
            expected=_EXPECTED,
            fix="GCS, MinIO, Ceph or R2 speak S3: use s3:// with storage.endpoint_url.",
        )
    return opener(text, storage or StorageConfig())


def _installed(scheme: str) -> Opener | None:
    """What another installed package opens a scheme with: an entry point of ours, by that name."""
    for entry in entry_points(group="vidgen.stores", name=scheme):
        try:
            found: Opener = entry.load()
        except (ImportError, AttributeError) as error:
            raise StorageError(
                f"the store for {scheme}:// cannot be imported from {entry.value}: {error}"
            ) from None
        return found
    return None


def _path(url: str, storage: StorageConfig) -> Store:
    from vidgen.storage.local import LocalStore

    return LocalStore(Path(url).expanduser())


def _file(url: str, storage: StorageConfig) -> Store:
    from vidgen.storage.local import LocalStore

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost") or not parts.path:
        raise StorageError(f"cannot open {url}", expected="file:///an/absolute/path")
    return LocalStore(unquote(parts.path))


def _s3(url: str, storage: StorageConfig) -> Store:
    from vidgen.storage.s3 import S3Store

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    return S3Store(bucket, prefix.strip("/"), storage)


_EXPECTED = "a path, file:///path or s3://bucket/prefix"

SCHEMES: dict[str, Opener] = {"": _path, "file": _file, "s3": _s3}
