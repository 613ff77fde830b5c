"""A run or a decoder that is killed, or hangs, costs little; what is done stays done."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from moving import SMALL, files_of, make_sources, moving_square

from vidgen.config.prepare import PrepareOptions
from vidgen.data.cut import Job, Record
from vidgen.data.dataset import open_dataset
from vidgen.data.encode import write_mp4
from vidgen.data.manifest import SUMMARY, read_rejects
from vidgen.data.pool import Outcome
from vidgen.data.prepare import on_this_machine, prepare
from vidgen.errors import DataError
from vidgen.storage.local import LocalStore


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 24, frames=120, height=240, width=320)
    command = [
        *(sys.executable, "-c", "from vidgen.cli import main; main()"),
        *("data", "prepare", str(raw), str(tmp_path / "a")),
        *("--set", "width=64", "--set", "height=64", "--set", "workers=2"),
    ]
    journal = tmp_path / "a" / "journal"
    run = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not any(journal.glob("*.jsonl")):
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "a" / SUMMARY).exists()
    with pytest.raises(DataError, match="holds no prepared data set"):
        open_dataset(str(tmp_path / "a"))
    text = "".join(path.read_text() for path in journal.glob("*.jsonl"))
    done = {json.loads(line)["source"] for line in text.splitlines()}
    assert done

    options = PrepareOptions(width=64, height=64, workers=2)
    asked: list[str] = []

    def spread(jobs: list[Job], options: PrepareOptions) -> Iterator[Outcome[Job, Record]]:
        asked.extend(job.stat.key for job in jobs)
        return on_this_machine(jobs, options)

    prepare(str(raw), str(tmp_path / "a"), options, spread=spread)
    assert set(asked) == {path.name for path in raw.glob("*.mp4")} - done
    prepare(str(raw), str(tmp_path / "b"), options)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    keys = [
        [s.key for s in LocalStore(tmp_path / x).list() if "journal" not in s.key] for x in "ab"
    ]
    assert keys[0] == keys[1]
    assert not any(key.startswith("parts/") for key in keys[0])


@contextmanager
def signalled(name: str, what: signal.Signals) -> Iterator[list[int]]:
    """Send a signal, once, to the worker process that has the file open."""
    over = threading.Event()
    hit: list[int] = []

    def look() -> None:
        while not over.is_set() and not hit:
            for child in multiprocessing.active_children():
                with suppress(OSError):  # it ended meanwhile
                    files = {
                        link.readlink().name for link in Path(f"/proc/{child.pid}/fd").iterdir()
                    }
                    if name in files and child.pid:
                        os.kill(child.pid, what)
                        hit.append(child.pid)
            time.sleep(0.002)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    yield hit
    over.set()
    watcher.join()


@pytest.fixture
def two_and_a_slow_one(tmp_path: Path) -> Path:
    raw = make_sources(tmp_path / "raw", 2)
    write_mp4(raw / "a-slow.mp4", moving_square(9, frames=200).repeat(10, 1).repeat(10, 2), 30)
    return raw


def test_a_decoder_that_is_killed_costs_one_source_for_now(
    two_and_a_slow_one: Path, tmp_path: Path
) -> None:
    one = SMALL.model_copy(update={"workers": 1})
    with signalled("a-slow.mp4", signal.SIGKILL) as hit:
        summary = prepare(str(two_and_a_slow_one), str(tmp_path / "made"), one)
    assert hit
    rejects = read_rejects(LocalStore(tmp_path / "made"))
    assert [(r.source, r.reason.value) for r in rejects] == [("a-slow.mp4", "crashed")]
    assert "SIGKILL" in rejects[0].detail
    assert (summary.sources.kept, summary.sources.rejected) == (2, 1)
    again = prepare(str(two_and_a_slow_one), str(tmp_path / "made"), one)  # perhaps not its fault
    assert (again.sources.kept, again.sources.rejected) == (3, 0)


def test_a_decoder_that_hangs_costs_one_source(two_and_a_slow_one: Path, tmp_path: Path) -> None:
    options = SMALL.model_copy(update={"workers": 2, "timeout_s": 12.0})
    with signalled("a-slow.mp4", signal.SIGSTOP) as hit:
        prepare(str(two_and_a_slow_one), str(tmp_path / "made"), options)
    rejects = read_rejects(LocalStore(tmp_path / "made"))
    assert [(r.source, r.reason.value) for r in rejects] == [("a-slow.mp4", "timeout")]
    assert not Path(f"/proc/{hit[0]}").exists()
