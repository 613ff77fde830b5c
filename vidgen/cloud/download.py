"""Objects of a run folder to local files, whole or not at all, going on where a download broke."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from vidgen.errors import StorageError
from vidgen.storage.base import Stat, Store

_PIECE = 16 * 1024**2  # bytes a request
_AT_ONCE = 4


def download(
    store: Store, stats: Iterable[Stat], folder: Path, progress: Callable[[int], None]
) -> list[Path]:
    """Write each object below `folder`; `progress` is told of bytes as they arrive.

    A file of the right size is there already; a .part file is gone on with.
    """
    wanted = list(stats)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        started = [pool.submit(_one, store, stat, folder, progress) for stat in wanted]
        for done in as_completed(started):
            if done.exception() is not None:
                for other in started:
                    other.cancel()
                done.result()
    return [_target(folder, stat.key) for stat in wanted]


def _one(store: Store, stat: Stat, folder: Path, progress: Callable[[int], None]) -> None:
    target = _target(folder, stat.key)
    if target.is_file() and target.stat().st_size == stat.size:
        progress(stat.size)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # Named by its etag: half of an object that has changed since is no start for the new one.
    etag = "".join(c for c in stat.etag if c.isalnum())[:16]
    part = target.with_name(f"{target.name}.{etag}.part")
    have = part.stat().st_size if part.is_file() else 0
    progress(have)
    with part.open("ab") as file:
        while have < stat.size:
            data = store.read_range(stat.key, have, min(_PIECE, stat.size - have))
            file.write(data)
            have += len(data)
            progress(len(data))
    os.replace(part, target)


def _target(folder: Path, key: str) -> Path:
    target = folder / key
    if not target.resolve().is_relative_to(folder.resolve()):
        raise StorageError(f"object {key} would be written outside {folder}")
    return target
