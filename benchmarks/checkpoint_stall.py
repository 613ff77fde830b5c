"""What a checkpoint every 20 steps costs a run, on a local disk and on S3 with 50 ms of latency.

    python benchmarks/checkpoint_stall.py [--rounds 16] [--latency-ms 50] [--json]

In one run, rounds of 20 steps that begin with a checkpoint take turns with rounds that have none;
the medians of their seconds are compared. What is lost is the copying of the state, which training
waits for, and whatever hashing and uploading takes away from the steps that go on meanwhile. Prints
the time lost over the time of a round (limit 0.02) for each store. Exit code 1 over the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from data.servers import s3_server, wire

from vidgen.config.load import load_run
from vidgen.data.loader import ensure_dataset
from vidgen.engine.distributed import join_ranks
from vidgen.engine.loop import Job, run_loop
from vidgen.engine.state import State
from vidgen.errors import Interrupted
from vidgen.observe.recorder import Recorder
from vidgen.storage.run_folder import RunFolder

LIMIT = 0.02
STEPS = 20  # from one checkpoint to the next
WARM_UP = 2  # rounds of either kind whose time does not count


class Rounds(Recorder):
    """Seconds of each round of steps, which ends when its line is written."""

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder, step=0, show=lambda line: None)
        self.plain: list[float] = []
        self.saving: list[float] = []
        self._since = time.perf_counter()

    def write(self, step: int, values: dict[str, float]) -> None:
        super().write(step, values)
        if "loss" in values:
            now = time.perf_counter()
            # The checkpoint of step 40 is begun after the line of step 40 and written in the round
            # of steps 41 to 60.
            (self.saving if step % (2 * STEPS) == STEPS else self.plain).append(now - self._since)
            self._since = now


def measure(run: str, rounds: int, endpoint_url: str | None) -> dict[str, float]:
    """Median seconds of rounds without and with a checkpoint, and the share that is lost."""
    config = load_run(
        "shapes-flow",
        [
            "data.synthetic.clips=48",
            f"run={run}",
            f"train.steps={2 * STEPS * (rounds + WARM_UP) + STEPS}",
            f"train.log_every={STEPS}",
            "train.validate_every=0",
            "train.sample_every=0",
            f"train.checkpoint_every={2 * STEPS}",
            *([f"storage.endpoint_url={endpoint_url}"] if endpoint_url else []),
        ],
    )
    with join_ranks() as ranks:
        dataset, folder = ensure_dataset(config), RunFolder(run, config.storage)
        recorder = Rounds(folder)
        done: Callable[[], bool] = lambda: len(recorder.saving) > rounds + WARM_UP  # noqa: E731
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
        saved = folder.checkpoint_steps()
        size = sum(s.size for s in folder.store.list(f"checkpoints/step_{saved[-1]:08d}/"))
    # The first round is of its own kind: nothing precedes it.
    plain = statistics.median(recorder.plain[WARM_UP:])
    saving = statistics.median(recorder.saving[1 + WARM_UP :])
    return {"plain_s": plain, "saving_s": saving, "lost": saving / plain - 1, "bytes": size}


def _refuse(text: str) -> None:
    """A run that could not save has nothing to show."""
    raise SystemExit(text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=16)
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

        def look(name: str, run: str, url: str | None = None) -> None:
            each = found[name] = measure(run, options.rounds, url)
            if not options.json:
                print(
                    f"{name}: {STEPS} steps {each['plain_s']:.3f} s, with a checkpoint of "
                    f"{each['bytes'] / 1e6:.0f} MB {each['saving_s']:.3f} s; "
                    f"lost {100 * each['lost']:.2f} % (limit {100 * LIMIT:g} %)",
                    flush=True,
                )

        look("local disk", f"{folder}/run")
        Path(folder, "s3", "bucket").mkdir(parents=True)
        with (
            s3_server(Path(folder, "s3")) as server,
            wire(server, latency_s=options.latency_ms / 1000) as line,
        ):
            look(f"S3 with {options.latency_ms:g} ms", "s3://bucket/run", line.url)
    if options.json:
        print(json.dumps(found))
    return int(max(each["lost"] for each in found.values()) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
