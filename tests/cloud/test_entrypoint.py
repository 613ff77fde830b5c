"""The wrapper that runs in the pod: real processes, a real S3 server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from vidgen.cloud.shipper import Position, Shipper, read_shipped
from vidgen.storage.base import Stat
from vidgen.storage.open import open_store

STOPS_SLOWLY = """
import signal, sys, time
caught = []
signal.signal(signal.SIGTERM, lambda *_: caught.append(1))
print("training", flush=True)
while not caught: time.sleep(0.05)
time.sleep(0.3)
print("saved after", len(caught), "signal", flush=True)
sys.exit(130)
"""


def wrapped(run: str, *command: str, **env: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "vidgen.cloud.entrypoint", "--logs", f"{run}/logs", "--", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, **env},
    )


def shipped(run: str) -> bytes:
    return b"".join(data for _, data in read_shipped(open_store(run)))


def test_output_reaches_stdout_and_the_store_and_the_exit_code_is_kept(
    s3_bucket: str, tmp_path: Path
) -> None:
    run, file = f"{s3_bucket}/runs/a", tmp_path / "deep" / "run.yaml"
    show = f"cat {file}; echo to stderr >&2; exit 7"
    process = wrapped(
        run, "sh", "-c", show, VIDGEN_CONFIG="name: a  # ü $(HOME)\n", VIDGEN_CONFIG_FILE=str(file)
    )
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 7
    assert out == b"name: a  # \xc3\xbc $(HOME)\nto stderr\n"
    assert shipped(run) == out


def test_a_stop_signal_reaches_the_program_once_and_its_last_words_are_kept(s3_bucket: str) -> None:
    run = f"{s3_bucket}/runs/b"
    process = wrapped(run, sys.executable, "-c", STOPS_SLOWLY)
    assert process.stdout is not None
    assert process.stdout.readline() == b"training\n"
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert shipped(run) == b"training\nsaved after 1 signal\n"


def test_under_ray_the_signal_is_not_doubled(s3_bucket: str) -> None:
    """Ray signals the wrapper and the program both."""
    run = f"{s3_bucket}/runs/c"
    process = wrapped(run, sys.executable, "-c", STOPS_SLOWLY, RAY_JOB_CONFIG_JSON_ENV_VAR="{}")
    assert process.stdout is not None
    assert process.stdout.readline() == b"training\n"
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert process.poll() is None  # not handed on
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    os.kill(int(children[0]), signal.SIGTERM)
    assert process.wait(timeout=60) == 130
    assert shipped(run).endswith(b"saved after 1 signal\n")


def test_a_killed_program_is_128_plus_the_signal(s3_bucket: str) -> None:
    process = wrapped(f"{s3_bucket}/runs/d", "sh", "-c", "kill -KILL $$")
    process.communicate(timeout=60)
    assert process.returncode == 137


def test_an_unreachable_store_does_not_stop_the_program(tmp_path: Path) -> None:
    process = wrapped("gopher://nowhere/runs/e", "echo", "still here")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, b"still here\n")
    assert b"logs are not kept" in err


def test_chunks_appear_while_the_program_runs_and_a_reader_goes_on_where_it_was(
    tmp_path: Path,
) -> None:
    store = open_store(str(tmp_path))
    shipper = Shipper(store, "20261121T000000Z", every_s=0.02, chunk=10)
    position: Position | None = None
    read = b""
    for number in range(30):
        shipper.add(f"line {number:02d}\n".encode())
        time.sleep(0.01)
        for reached, data in read_shipped(store, position):
            read, position = read + data, reached
    assert shipper.close(10)
    again = Shipper(store, "20261121T000100Z", every_s=0.02)  # the head was replaced
    again.add(b"once more\n")
    assert again.close(10)
    for _, data in read_shipped(store, position):
        read += data
    assert read == b"".join(b"line %02d\n" % n for n in range(30)) + b"once more\n"


def test_a_long_log_is_few_objects(tmp_path: Path) -> None:
    """Listing is what a reader does every few seconds: a line a second must not be an object."""
    store = open_store(str(tmp_path))
    shipper = Shipper(store, "20261121T000000Z", every_s=0.001, chunk=100)
    for number in range(60):
        shipper.add(f"line {number:02d}\n".encode())
        time.sleep(0.005)
    assert shipper.close(10)
    sizes = [stat.size for stat in store.list("logs/")]
    assert sizes == [100, 100, 100, 100, 80]
    assert b"".join(data for _, data in read_shipped(store)).count(b"\n") == 60


def test_a_chunk_that_grows_while_it_is_read_is_not_read_twice(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    store.write("logs/20261121T000000Z/000000000000.txt", b"one\n")
    listed = list(store.list("logs/"))
    store.write("logs/20261121T000000Z/000000000000.txt", b"one\ntwo\n")

    class Late(type(store)):  # type: ignore[misc]
        """Lists what was there a moment ago."""

        def list(self, prefix: str = "") -> Iterator[Stat]:
            return iter(listed)

    ((position, data),) = read_shipped(Late(str(tmp_path)))
    assert data == b"one\ntwo\n"
    assert list(read_shipped(store, position)) == []


def test_while_the_store_is_away_the_newest_output_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "not-a-folder"
    file.write_text("in the way")
    shipper = Shipper(open_store(str(file)), "20261121T000000Z", every_s=0.01, most=100)
    for number in range(50):
        shipper.add(f"line {number:02d}\n".encode())
    assert not shipper.close(0.2)
    assert shipper.problem is not None
    file.unlink()  # back again
    deadline = time.monotonic() + 20
    while not shipper.close(0.1) and time.monotonic() < deadline:
        pass
    kept = b"".join(data for _, data in read_shipped(open_store(str(file))))
    assert kept.endswith(b"line 49\n")
    assert len(kept) == 100


def test_a_process_left_behind_does_not_hold_up_the_end(tmp_path: Path) -> None:
    began = time.monotonic()
    process = wrapped(str(tmp_path / "run"), "sh", "-c", "echo done; sleep 60 & exit 3")
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    assert process.wait(timeout=50) == 3
    assert time.monotonic() - began < 50
    process.stdout.close()
