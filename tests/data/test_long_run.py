"""A long run in miniature: fifty thousand reads leave nothing behind."""

from __future__ import annotations

import multiprocessing
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from moving import run_config

from vidgen.data.dataset import open_dataset
from vidgen.data.loader import batches

BATCH = 50


def own_bytes(workers: int) -> int:
    """Memory that is this process's alone, and `workers` times that of its largest child.

    Pages shared with anybody do not count: their share changes with whatever else runs here. Nor
    does it count how many decoders are just being replaced.
    """
    me = psutil.Process()
    sizes = [0]
    for child in me.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # just replaced
            sizes.append(child.memory_full_info().uss)
    return int(me.memory_full_info().uss) + workers * max(sizes)


def shared_memory() -> set[str]:
    """What this process and its children have of /dev/shm; others leave their files there too."""
    me, found = psutil.Process(), set()
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            found |= {each.path for each in process.memory_maps() if "/dev/shm/" in each.path}
    return found


@pytest.mark.parametrize(
    ("reads", "workers"), [(3_000, 0), pytest.param(50_000, 2, marks=pytest.mark.slow)]
)
def test_memory_processes_and_files_stay_flat(prepared: Path, reads: int, workers: int) -> None:
    config = run_config(
        batch_size=BATCH, cache=False, loader_workers=workers, prefetch=2, conditions=("text",)
    )
    shared, seen = shared_memory(), set()
    processes = len(multiprocessing.active_children())
    sizes, files = [], []
    with batches(open_dataset(str(prepared)), config) as stream:
        for step in range(reads // BATCH):
            next(stream)
            if step % max(1, reads // BATCH // 20) == 0:
                sizes.append(own_bytes(workers))
                files.append(psutil.Process().num_fds())
                seen |= shared_memory()
    warm, late = sizes[4:8], sizes[-4:]
    growth = sum(late) / sum(warm)
    print(f"{reads} reads: {warm[0] / 1e6:.0f} MB when warm, {growth:.3f}x at the end")
    assert growth < 1.05
    assert max(files[-4:]) <= max(files[4:8]) + 2
    assert len(multiprocessing.active_children()) == processes
    assert seen <= shared
