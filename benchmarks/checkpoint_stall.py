"""What a checkpoint every 20 steps costs a run, on a local disk and on S3 with 50 ms of latency.

    python benchmarks/checkpoint_stall.py [--rounds 32] [--stores disk s3] [--latency-ms 50]

In one run, the ten steps after a checkpoint is begun, in which it is copied, hashed and written,
are compared with the ten that follow, in which nothing is; the median of all rounds counts, since
machines have slower moments. A real S3 server is another machine. This one and the wire before it
run when nobody else wants to, and so that they take as much from both halves, in the second one a
process of its own sends them what a save does. Prints the time lost over the time of 20 steps
(limit 0.02) for each store. Exit code 1 over the limit.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil
import torch
from data.servers import s3_server, wire

from vidgen.config.load import load_run
from vidgen.config.run import StorageConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.engine.distributed import join_ranks
from vidgen.engine.loop import Job, run_loop
from vidgen.engine.state import State
from vidgen.errors import Interrupted
from vidgen.observe.recorder import Recorder
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder, step_name

LIMIT = 0.02
STORES = ("disk", "s3")
STEPS = 20  # from one checkpoint to the next
HALF = STEPS // 2
SHARD_BYTES = 58_500_000  # of a checkpoint of shapes-flow
WARM_UP = 2  # rounds whose time does not count


class Halves(Recorder):
    """Seconds of each half of a round, which ends when its line is written, and of each save.

    Args:
        meanwhile: called when a half without a save begins.
    """

    def __init__(self, folder: RunFolder, meanwhile: Callable[[], None]) -> None:
        self._meanwhile = meanwhile
        self.halves: list[float] = []
        self.saves: list[float] = []
        self._since = time.perf_counter()
        super().__init__(folder, step=0, show=lambda line: None)

    def write(self, step: int, values: dict[str, float]) -> None:
        super().write(step, values)
        if "loss" in values:
            self.halves.append(time.perf_counter() - self._since)
            if len(self.halves) % 2:
                self._meanwhile()
            self._since = time.perf_counter()

    def note(self, step: int, values: dict[str, float]) -> None:
        super().note(step, values)
        if "save_s" in values:
            self.saves.append(values["save_s"])


def measure(
    run: str,
    rounds: int,
    endpoint_url: str | None,
    meanwhile: Callable[[], None] = lambda: None,
) -> dict[str, float]:
    """Seconds of 20 steps without a checkpoint, and the share of them that one costs."""
    enough = 2 * (1 + WARM_UP + rounds)  # halves; no checkpoint is begun before the first round
    config = load_run(
        "shapes-flow",
        [
            "data.synthetic.clips=48",
            f"run={run}",
            f"train.steps={HALF * (enough + 2)}",
            f"train.log_every={HALF}",
            "train.validate_every=0",
            "train.sample_every=0",
            f"train.checkpoint_every={STEPS}",
            *([f"storage.endpoint_url={endpoint_url}"] if endpoint_url else []),
        ],
    )
    with join_ranks() as ranks:
        dataset, folder = ensure_dataset(config), RunFolder(run, config.storage)
        recorder = Halves(folder, meanwhile)
        done: Callable[[], bool] = lambda: len(recorder.halves) >= enough  # noqa: E731
        job = Job(
            config=config,
            dataset=dataset,
            state=State(config, ranks.device),
            folder=folder,
            ranks=ranks,
            recorder=recorder,
            stop_wanted=done,
            report=lambda metrics: None,
            say=_refuse,
        )
        with recorder, suppress(Interrupted):
            run_loop(job)
        newest = step_name(folder.checkpoint_steps()[-1])
        size = sum(each.size for each in folder.store.list(f"checkpoints/{newest}/"))
    first = 2 * (1 + WARM_UP)
    saving, plain = recorder.halves[first:enough:2], recorder.halves[first + 1 : enough : 2]
    save_s = statistics.median(recorder.saves)
    if save_s > min(plain):
        raise SystemExit(
            f"a save takes {save_s:.1f} s, {HALF} steps {min(plain):.1f} s: no half without"
        )
    lost = [(busy - free) / (2 * free) for busy, free in zip(saving, plain, strict=True)]
    low, middle, high = statistics.quantiles(lost, n=4)
    return {
        "plain_s": 2 * statistics.median(plain), "save_s": save_s, "bytes": size,
        "lost": middle, "lost_low": low, "lost_high": high,
    }  # fmt: skip


@contextmanager
def other_saver(endpoint_url: str) -> Iterator[Callable[[], None]]:
    """Another process that sends what a save does; the function makes it begin."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_save_as_told, args=(endpoint_url, there), daemon=True)
    process.start()
    try:
        here.recv()  # it is ready
        yield lambda: here.send(None)
    finally:
        process.kill()
        process.join()


def _save_as_told(endpoint_url: str, told: Connection) -> None:
    store = open_store("s3://bucket/other", StorageConfig(endpoint_url=endpoint_url))
    shard = memoryview(bytes(SHARD_BYTES))
    store.write("metrics.jsonl", b"{}")
    told.send(None)
    while True:
        told.recv()
        list(store.list())
        store.write("shard", shard)
        for name in ("metadata", "metrics.jsonl", "marker"):
            store.write(name, b"{}")
        list(store.list())
        list(store.list())
        for name in ("marker", "shard", "metadata"):
            store.delete(name)


def give_way() -> None:
    """Let the processes started here run when nobody else wants to."""
    for process in psutil.Process().children(recursive=True):
        process.nice(19)


def _refuse(text: str) -> None:
    """A run that could not save has nothing to show."""
    raise SystemExit(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=32)
    parser.add_argument("--stores", nargs="*", choices=STORES, default=STORES)
    parser.add_argument("--latency-ms", type=float, default=50)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)  # as many as a core of its own for the writing leaves on two
    os.environ |= {
        "AWS_ACCESS_KEY_ID": "anybody", "AWS_SECRET_ACCESS_KEY": "anybody",
        "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def look(name: str, run: str, *where: Any) -> None:
            each = found[name] = measure(run, options.rounds, *(where or (None,)))
            if not options.json:
                print(
                    f"{name}: {STEPS} steps {each['plain_s']:.3f} s, a checkpoint of "
                    f"{each['bytes'] / 1e6:.0f} MB takes {each['save_s']:.2f} s beside them; lost "
                    f"{100 * each['lost']:.2f} % (half of the rounds "
                    f"{100 * each['lost_low']:.1f} to {100 * each['lost_high']:.1f} %; "
                    f"limit {100 * LIMIT:g} %)",
                    flush=True,
                )

        if "disk" in options.stores:
            look("local disk", f"{folder}/run")
        if "s3" in options.stores:
            Path(folder, "s3", "bucket").mkdir(parents=True)
            with ExitStack() as servers:
                server = servers.enter_context(s3_server(Path(folder, "s3")))
                line = servers.enter_context(wire(server, latency_s=options.latency_ms / 1000))
                other = servers.enter_context(other_saver(line.url))
                give_way()
                look(f"S3 with {options.latency_ms:g} ms", "s3://bucket/run", line.url, other)
    if options.json:
        print(json.dumps(found))
    return int(max(each["lost"] for each in found.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
