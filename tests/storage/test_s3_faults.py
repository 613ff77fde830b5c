"""Stores when things go wrong: faults that pass are retried, others are one clear error."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from faulty_proxy import faulty_proxy

from vidgen.config.run import StorageConfig
from vidgen.errors import AccessDenied, NotFoundInStore, StorageError
from vidgen.storage import s3
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_FIRST_WAIT", 0.002)


def through(proxy: str, bucket: str, attempts: int = 8) -> Any:
    return open_store(bucket, StorageConfig(endpoint_url=proxy, attempts=attempts))


@pytest.mark.usefixtures("quick")
def test_faults_of_every_third_request_change_nothing(
    s3_bucket: str, s3_server: Any, tmp_path: Path
) -> None:
    draw = random.Random(1)
    kinds = ["503", "429", "reset", "short"]

    def fault(number: int, method: str, path: str) -> str:
        return draw.choice(kinds) if draw.random() < 0.33 else "ok"

    large = tmp_path / "large"
    large.write_bytes(random.Random(2).randbytes(40 * 1024**2))  # several parts
    with faulty_proxy(s3_server.endpoint, fault) as (proxy, log):
        store = through(proxy, s3_bucket, attempts=12)
        for n in range(20):
            store.write(f"small/{n:02d}", bytes([n]) * 1000)
        store.write("large", large)
        assert [stat.key for stat in store.list("small/")] == [f"small/{n:02d}" for n in range(20)]
        for n in range(20):
            assert store.read(f"small/{n:02d}") == bytes([n]) * 1000
            assert store.read_range(f"small/{n:02d}", 10, 500) == bytes([n]) * 500
        with store.as_file("large") as path:
            assert path.read_bytes() == large.read_bytes()
    assert {*kinds, "ok"} == set(log)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("kind", ["503", "reset", "short"])
def test_a_fault_that_stays_is_one_error_after_the_attempts(
    kind: str, s3_bucket: str, s3_server: Any
) -> None:
    open_store(s3_bucket).write("x", b"0123456789")
    with faulty_proxy(s3_server.endpoint, lambda *_: kind) as (proxy, log):
        with pytest.raises(StorageError, match="after 3 attempts") as caught:
            through(proxy, s3_bucket, attempts=3).read("x")
        assert log == [kind] * 3
    assert f"{s3_bucket}/x" in str(caught.value)


@pytest.mark.usefixtures("quick")
def test_a_server_that_does_not_answer_is_given_up(
    s3_bucket: str, s3_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_READ_TIMEOUT", 0.3)
    open_store(s3_bucket).write("x", b"x")
    with faulty_proxy(s3_server.endpoint, lambda n, *_: "hang" if n == 0 else "ok") as (proxy, log):
        assert through(proxy, s3_bucket).read("x") == b"x"
        assert log == ["hang", "ok"]


@pytest.mark.usefixtures("quick")
def test_what_cannot_pass_is_not_retried(s3_bucket: str, s3_server: Any) -> None:
    with faulty_proxy(s3_server.endpoint, lambda *_: "ok") as (proxy, log):
        with pytest.raises(NotFoundInStore):
            through(proxy, s3_bucket).read("not/there")
        assert log == ["ok"]


@pytest.mark.usefixtures("quick")
def test_a_lost_answer_to_a_completed_upload_is_no_error(
    s3_bucket: str, s3_server: Any, tmp_path: Path
) -> None:
    """The server completes the upload, the answer breaks, and the retry finds no such upload."""
    large = tmp_path / "large"
    large.write_bytes(b"x" * (33 * 1024**2))
    spoiled = threading.Event()

    def fault(number: int, method: str, path: str) -> str:
        if method == "POST" and "uploadId=" in path and not spoiled.is_set():
            spoiled.set()
            return "short"
        return "ok"

    with faulty_proxy(s3_server.endpoint, fault) as (proxy, _):
        through(proxy, s3_bucket).write("large", large)
    assert spoiled.is_set()
    assert open_store(s3_bucket).stat("large").size == large.stat().st_size


def test_a_failed_upload_leaves_no_object(s3_bucket: str, s3_server: Any, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(b"x" * (40 * 1024**2))

    def fault(number: int, method: str, path: str) -> str:
        return "503" if "partNumber=2" in path else "ok"

    with faulty_proxy(s3_server.endpoint, fault) as (proxy, _):
        store = through(proxy, s3_bucket, attempts=2)
        with pytest.raises(StorageError, match="503"):
            store.write("large", large)
    assert list(open_store(s3_bucket).list()) == []


@pytest.mark.usefixtures("s3_bucket")
def test_a_bucket_that_does_not_exist() -> None:
    store = open_store("s3://no-such-bucket-here/data")
    for call in (
        lambda: store.read("x"),
        lambda: store.write("x", b""),
        lambda: list(store.list()),
    ):
        with pytest.raises(NotFoundInStore, match=r"bucket 'no-such-bucket-here' does not exist"):
            call()


def test_refused_credentials(s3_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret-do-not-print")
    store = open_store(s3_bucket)
    for call in (lambda: store.read("x"), lambda: store.stat("x"), lambda: list(store.list())):
        with pytest.raises(AccessDenied, match="refused access") as caught:
            call()
        assert "wrong-secret" not in str(caught.value)


def test_missing_credentials(
    s3_bucket: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(AccessDenied, match="AWS_ACCESS_KEY_ID"):
        open_store(s3_bucket).read("x")


@pytest.mark.usefixtures("s3_bucket", "quick")
def test_an_endpoint_nobody_listens_at() -> None:
    storage = StorageConfig(endpoint_url="http://127.0.0.1:9", attempts=2)
    with pytest.raises(StorageError, match=r"cannot reach http://127.0.0.1:9 .* after 2 attempts"):
        open_store("s3://bucket/x", storage).read("y")
    with pytest.raises(StorageError, match=r"storage\.endpoint_url"):
        open_store("s3://bucket/x", StorageConfig(endpoint_url="nonsense")).read("y")


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    """On a real file system of one megabyte."""
    if shutil.which("unshare") is None:
        pytest.skip("unshare is not installed: no small file system to fill")
    program = f"""
import sys
from vidgen.errors import StorageError
from vidgen.storage.local import LocalStore
store = LocalStore({str(tmp_path)!r})
store.write("kept", b"old")
for what in (b"x" * 2_000_000, __import__("pathlib").Path("/dev/shm/vidgen-large")):
    try:
        store.write("kept", what)
    except StorageError as error:
        print(error)
    assert store.read("kept") == b"old"
assert [s.key for s in store.list()] == ["kept"]
assert len(list(store.root.iterdir())) == 1, "a part file was left"
"""
    script = (
        f"mount -t tmpfs -o size=1m tmpfs {tmp_path} && mount -t tmpfs tmpfs /dev/shm || exit 77;"
        ' head -c 2000000 /dev/zero > /dev/shm/vidgen-large && exec "$@"'
    )
    run = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode == 77 or run.stderr.startswith("unshare:"):
        pytest.skip(f"cannot mount a small file system here: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("disk full while writing") == 2


def test_permissions_and_folders_in_the_way(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write("a/b", b"x")
    with pytest.raises(StorageError, match="a"):
        store.write("a/b/c", b"x")
    with pytest.raises(StorageError, match="a"):
        store.read("a")
    with pytest.raises(StorageError, match="too long"):
        store.write("x" * 300, b"x")


def test_a_folder_of_somebody_else(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "theirs")
    store.write("x", b"x")
    store.root.chmod(0)
    root = os.geteuid() == 0
    if root:  # permissions do not hold for root
        os.seteuid(65534)
    try:
        for call in (lambda: store.read("x"), lambda: store.write("y", b"")):
            with pytest.raises(AccessDenied, match="no permission"):
                call()
    finally:
        if root:
            os.seteuid(0)
        store.root.chmod(0o700)


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    whole = [bytes([n]) * 3_000_000 for n in range(2)]
    store.write("x", whole[0])
    done = threading.Event()

    def rewrite() -> None:
        for n in range(40):
            store.write("x", whole[n % 2])
        done.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    while not done.is_set():
        assert store.read("x") in whole
    writer.join()
    assert [stat.key for stat in store.list()] == ["x"]
