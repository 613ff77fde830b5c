"""Runs a function on several gloo ranks, each a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import queue
import tempfile
import traceback
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist

_WAIT_S = 180


def on_ranks(world: int, work: Callable[..., Any], *args: Any) -> list[Any]:
    """What `work(*args)` returns on each rank; `work` is a module's own function."""
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    with tempfile.TemporaryDirectory() as folder:
        processes = [
            context.Process(target=_run, args=(rank, world, folder, results, work, args))
            for rank in range(world)
        ]
        for process in processes:
            process.start()
        try:
            found = dict(results.get(timeout=_WAIT_S) for _ in processes)
        except queue.Empty:
            raise AssertionError(f"a rank gave no result in {_WAIT_S} s") from None
        finally:
            for process in processes:
                process.join(20)
                process.kill()
    for rank, (good, value) in found.items():
        assert good, f"rank {rank}:\n{value}"
    return [found[rank][1] for rank in range(world)]


def _run(
    rank: int, world: int, folder: str, results: Any, work: Callable[..., Any], args: Any
) -> None:
    torch.set_num_threads(1)
    os.environ |= {"LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)}
    dist.init_process_group("gloo", init_method=f"file://{folder}/at", rank=rank, world_size=world)
    try:
        results.put((rank, (True, work(*args))))
    except BaseException:
        results.put((rank, (False, traceback.format_exc())))
    finally:
        dist.destroy_process_group()
