"""Every store, row by row of the scheme table, keeps the same contract."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from vidgen.errors import NotFoundInStore, StorageError
from vidgen.storage.base import Store
from vidgen.storage.open import SCHEMES, open_store


@pytest.fixture(params=sorted(SCHEMES))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    urls = {
        "": lambda: str(tmp_path / "a b"),
        "file": lambda: (tmp_path / "a b").as_uri(),
        "s3": lambda: request.getfixturevalue("s3_bucket") + "/some/prefix",
    }
    return open_store(urls[request.param]())


def test_reads_back_what_was_written(store: Store) -> None:
    store.write("a/b.bin", b"0123456789")
    assert store.read("a/b.bin") == b"0123456789"
    assert store.read_range("a/b.bin", 3, 4) == b"3456"
    assert store.read_range("a/b.bin", 3, 0) == b""
    store.write("a/b.bin", b"new")
    assert store.read("a/b.bin") == b"new"
    store.write("empty", b"")
    assert store.read("empty") == b""


def test_writes_files_small_and_large(store: Store, tmp_path: Path) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(b"x" * 1000)
    block = bytes(range(256)) * 4096
    large.write_bytes(block * 40 + b"end")  # 40 MiB: several parts in S3
    store.write("small", small)
    store.write("deep/large", large)
    assert store.stat("small").size == 1000
    assert store.stat("deep/large").size == large.stat().st_size
    assert store.read_range("deep/large", len(block) * 17, len(block)) == block
    with store.as_file("deep/large") as path:
        assert path.read_bytes() == large.read_bytes()


def test_lists_sorted_by_key_and_by_prefix(store: Store) -> None:
    keys = ["a-b", "a/b/c", "a/b-c", "a/é ü.mp4", "b", "a.x"]
    for key in keys:
        store.write(key, key.encode())
    assert [s.key for s in store.list()] == sorted(keys)
    assert [s.key for s in store.list("a/")] == ["a/b-c", "a/b/c", "a/é ü.mp4"]
    assert [s.key for s in store.list("a/b")] == ["a/b-c", "a/b/c"]
    assert [s.key for s in store.list("nothing/here")] == []
    assert [s.size for s in store.list("b")] == [1]


def test_lists_more_than_one_page(store: Store) -> None:
    keys = [f"many/{n:04d}" for n in range(1005)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda key: store.write(key, b"x"), keys))
    assert [s.key for s in store.list("many/")] == keys


def test_etag_follows_content(store: Store) -> None:
    store.write("x", b"one")
    first = store.stat("x")
    assert next(store.list("x")) == first
    assert store.read_range("x", 0, 3, etag=first.etag) == b"one"
    store.write("x", b"two!")
    assert store.stat("x").etag != first.etag
    with pytest.raises(StorageError, match="changed while"):
        store.read_range("x", 0, 3, etag=first.etag)


def test_missing_objects(store: Store) -> None:
    store.write("here", b"x")
    for call in (store.read, store.stat, lambda key: store.read_range(key, 0, 1)):
        with pytest.raises(NotFoundInStore, match="gone"):
            call("gone")
    with pytest.raises(NotFoundInStore), store.as_file("gone"):
        pass
    store.delete("gone")
    store.delete("here")
    assert list(store.list()) == []


def test_a_range_past_the_end_is_an_error(store: Store) -> None:
    store.write("x", b"12345")
    for start, length in ((0, 6), (3, 5), (9, 1)):
        with pytest.raises(StorageError):
            store.read_range("x", start, length)


@pytest.mark.parametrize(
    "key", ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "a/./b", "\0"]
)
def test_keys_stay_below_the_root(store: Store, key: str) -> None:
    for call in (store.read, store.stat, store.delete, lambda k: store.write(k, b"")):
        with pytest.raises(StorageError, match="not a valid name"):
            call(key)


def test_sub_store_and_pickle(store: Store) -> None:
    inner = pickle.loads(pickle.dumps(store)).sub("runs/one")
    inner.write("config.yaml", b"a: 1")
    assert inner.url == f"{store.url}/runs/one"
    assert store.read("runs/one/config.yaml") == b"a: 1"
    assert [s.key for s in inner.list()] == ["config.yaml"]


def test_one_store_serves_many_threads(store: Store) -> None:
    def write_and_read(n: int) -> bool:
        store.write(f"t/{n}", str(n).encode() * 100)
        return store.read(f"t/{n}") == str(n).encode() * 100

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(write_and_read, range(64)))


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("gs://bucket/x", "unknown scheme 'gs'"),
        ("files:///x", "did you mean 'file'"),
        ("s3://", "not a bucket name"),
        ("s3://bucket/x/../y", "not a valid name"),
        ("file://host/x", "absolute/path"),
        ("", "names no folder"),
    ],
)
def test_urls_that_name_no_store(url: str, says: str) -> None:
    with pytest.raises(StorageError, match=says):
        open_store(url)
