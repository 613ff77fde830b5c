"""The cache gives the store's bytes, fetches them once per node, and stays within its limit."""

from __future__ import annotations

import multiprocessing
import os
import pickle
from contextlib import suppress
from pathlib import Path

import pytest

from vidgen.errors import StorageError
from vidgen.storage.cache import CachedStore
from vidgen.storage.local import LocalStore

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


class Counted(LocalStore):
    """Counts the ranges that really were read."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads = 0

    def read_range(self, key: str, start: int, length: int, *, etag: str | None = None) -> bytes:
        self.reads += 1
        return super().read_range(key, start, length, etag=etag)


@pytest.fixture
def origin(tmp_path: Path) -> Counted:
    store = Counted(tmp_path / "origin")
    store.write("object", CONTENT)
    return store


def kept_bytes(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):  # another process has just thrown it out
            if path.is_file() and path.name != "used":
                total += path.stat().st_size
    return total


def test_a_range_is_fetched_once(origin: Counted, tmp_path: Path) -> None:
    etag = origin.stat("object").etag
    first = CachedStore(origin, tmp_path / "cache", 10**6)
    second = pickle.loads(pickle.dumps(first))  # as another process has it
    assert first.read_range("object", 10, 500, etag=etag) == CONTENT[10:510]
    assert second.read_range("object", 10, 500, etag=etag) == CONTENT[10:510]
    assert origin.reads == 1
    assert second.store.reads == 0  # type: ignore[attr-defined]


def test_another_version_is_another_range(origin: Counted, tmp_path: Path) -> None:
    cache = CachedStore(origin, tmp_path / "cache", 10**6)
    old = cache.stat("object").etag
    cache.read_range("object", 0, 100, etag=old)
    cache.write("object", CONTENT[::-1])
    new = cache.stat("object").etag
    assert cache.read_range("object", 0, 100, etag=new) == CONTENT[::-1][:100]
    with pytest.raises(StorageError, match="changed"):
        cache.read_range("object", 100, 100, etag=old)


def test_without_a_version_nothing_is_kept(origin: Counted, tmp_path: Path) -> None:
    cache = CachedStore(origin, tmp_path / "cache", 10**6)
    for _ in range(2):
        assert cache.read_range("object", 0, 100) == CONTENT[:100]
    assert origin.reads == 2
    assert not (tmp_path / "cache").exists()


def test_the_limit_holds_and_the_least_used_goes_first(origin: Counted, tmp_path: Path) -> None:
    etag = origin.stat("object").etag
    cache = CachedStore(origin, tmp_path / "cache", 20_000)
    for number in range(50):
        cache.read_range("object", 1000 * number, 1000, etag=etag)
        cache.read_range("object", 0, 1000, etag=etag)  # used all the time
        used = 0.001 * (number + 1)  # file systems keep coarse times: spread them
        for path in (tmp_path / "cache").rglob("*"):
            if path.is_file() and len(path.parent.name) == 2 and path.stat().st_mtime > 1e9:
                os.utime(path, (number + used, number + used))
        assert kept_bytes(tmp_path / "cache") <= 20_000
    before = origin.reads
    cache.read_range("object", 0, 1000, etag=etag)
    assert origin.reads == before  # survived fifty others
    cache.read_range("object", 2000, 1000, etag=etag)
    assert origin.reads == before + 1  # long gone


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 1004])
def test_what_a_power_cut_left_is_fetched_again(
    origin: Counted, tmp_path: Path, damage: bytes
) -> None:
    etag = origin.stat("object").etag
    cache = CachedStore(origin, tmp_path / "cache", 10**6)
    cache.read_range("object", 0, 1000, etag=etag)
    (kept,) = (p for p in (tmp_path / "cache").rglob("*") if p.stat().st_size == 1004)
    kept.write_bytes(damage)
    assert cache.read_range("object", 0, 1000, etag=etag) == CONTENT[:1000]
    assert kept.read_bytes()[:1000] == CONTENT[:1000]


def test_a_folder_that_cannot_be_written_costs_speed_not_the_run(
    origin: Counted, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file is in the way")
    etag = origin.stat("object").etag
    cache = CachedStore(origin, tmp_path / "cache", 10**6)
    for _ in range(2):
        assert cache.read_range("object", 0, 1000, etag=etag) == CONTENT[:1000]


def _hammer(root: Path, folder: Path, seed: int) -> None:
    import random

    rng = random.Random(seed)
    store = LocalStore(root)
    cache = CachedStore(store, folder, 60_000)
    etag = store.stat("object").etag
    for _ in range(300):
        start, length = rng.randrange(0, 90_000, 1000), rng.choice([500, 1000, 4000])
        assert (
            cache.read_range("object", start, length, etag=etag) == CONTENT[start : start + length]
        )
        with cache._locked():  # or files that come and go during the count are both in it
            assert kept_bytes(folder) <= 60_000


def test_processes_share_it(origin: Counted, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_hammer, args=(origin.root, tmp_path / "cache", seed))
        for seed in range(3)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert not list((tmp_path / "cache").glob("*.part"))
