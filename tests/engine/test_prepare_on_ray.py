"""Prepare on a Ray cluster makes the same data set as on one machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.small_ray import small_ray

sys.path.append(str(Path(__file__).parents[1] / "data"))
from moving import SMALL, make_sources, moving_square

from vidgen.data.encode import write_mp4
from vidgen.data.manifest import MANIFEST, REJECTS, SUMMARY, read_rejects
from vidgen.data.prepare import prepare
from vidgen.engine.prepare_on_ray import on_ray
from vidgen.storage.local import LocalStore

pytestmark = pytest.mark.xdist_group("ray")


@pytest.fixture(scope="module", autouse=True)
def local_ray() -> Iterator[None]:
    with small_ray(cpus=2):
        yield


def test_the_same_bytes_as_on_one_machine(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 8)
    (raw / "text.mp4").write_text("no video")
    prepare(str(raw), str(tmp_path / "here"), SMALL)
    prepare(str(raw), str(tmp_path / "there"), SMALL, spread=on_ray)
    for name in (MANIFEST, REJECTS, SUMMARY):
        assert (tmp_path / "here" / name).read_bytes() == (tmp_path / "there" / name).read_bytes()
    assert prepare(str(raw), str(tmp_path / "there"), SMALL, spread=on_ray).sources.kept == 8


def test_a_worker_that_dies_each_time_costs_its_source(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 2)
    slow = moving_square(9, frames=300).repeat(10, 1).repeat(10, 2)
    write_mp4(raw / "a-slow.mp4", slow, 30)
    over = threading.Event()
    killed: set[int] = set()

    def kill() -> None:
        while not over.is_set():
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) not in killed:
                    try:
                        title = (entry / "cmdline").read_bytes()
                        links = [link.readlink().name for link in (entry / "fd").iterdir()]
                    except OSError:
                        continue
                    if title.startswith(b"ray::cut") and "a-slow.mp4" in links:
                        os.kill(int(entry.name), signal.SIGKILL)
                        killed.add(int(entry.name))
            time.sleep(0.01)

    watcher = threading.Thread(target=kill, daemon=True)
    watcher.start()
    summary = prepare(str(raw), str(tmp_path / "made"), SMALL, spread=on_ray)
    over.set()
    watcher.join()
    assert len(killed) == 2
    assert summary.sources.kept == 2
    (reject,) = read_rejects(LocalStore(tmp_path / "made"))
    assert (reject.source, reject.reason.value) == ("a-slow.mp4", "crashed")
