"""Start of the loader on manifests of ten thousand and ten million clips.

    python benchmarks/data/manifest_rows.py [--rows 10000 10000000] [--work FOLDER]

The manifests are made up, the clips behind their rows are real ones. A fresh process opens the data
set and waits for its first batch, which two decoder processes read; its imports are not counted.
Besides the time on the clock, which depends on what else runs, there is the processor time of the
rank and of its busiest decoder process one after the other: what a machine with free cores takes.
The largest manifest takes a few minutes and 4 GB of memory to make, once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

FRAMES, SIDE, FPS, CLIPS = 32, 64, 16, 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 10_000_000])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "vidgen-rows"))
    parser.add_argument("--start", type=Path, help="measure one data set, in this process")
    asked = parser.parse_args()
    if asked.start:
        print(json.dumps(start(asked.start)))
        return 0
    found = {}
    print(
        f"{'rows':>12} {'to first batch':>15} {'processor':>10} {'rank grew by':>13} "
        f"{'decoder process':>16}"
    )
    for rows in asked.rows:
        folder = make(asked.work / str(rows), rows)
        runs = [fresh(folder) for _ in range(5)]
        found[rows] = {name: median(run[name] for run in runs) for name in runs[0]}
        one = found[rows]
        print(
            f"{rows:12,} {one['seconds']:13.2f} s {one['cpu_s']:8.2f} s {one['rank_mb']:10.0f} MB "
            f"{one['worker_mb']:13.0f} MB",
            flush=True,
        )
    few, many = found[min(found)], found[max(found)]
    for name, what in (("seconds", "start"), ("cpu_s", "processor time of it")):
        print(f"{what}: {many[name] / few[name]:.2f}x that of the small manifest")
    return 0


def fresh(folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--start", str(folder)]
    out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    measured: dict[str, float] = json.loads(out.splitlines()[-1])
    return measured


def start(folder: Path) -> dict[str, float]:
    """Seconds to the first batch, by the clock and of processors; MB that this process grew by; MB
    of a decoder process."""
    import multiprocessing

    import psutil

    # Not at the top: decoder processes import this file too, and know nothing of torch.
    from vidgen.config.run import RunConfig
    from vidgen.data.dataset import open_dataset
    from vidgen.data.loader import batches

    config = RunConfig.model_validate(
        {
            "name": "rows",
            "data": {
                "url": str(folder), "frames": 16, "height": SIDE, "width": SIDE,
                "loader_workers": 2, "cache": False, "prefetch": 1,
            },
            "model": {"family": "flow", "conditions": ["text"]},
            "train": {"batch_size": 16},
        }
    )  # fmt: skip
    before, began, cpu = resident("self"), time.perf_counter(), time.process_time()
    with batches(open_dataset(str(folder)), config) as stream:
        next(stream)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        children = [psutil.Process(child.pid) for child in multiprocessing.active_children()]
        workers = [child.memory_info().rss for child in children]
        busy = max(sum(child.cpu_times()[:2]) for child in children)
        return {
            "seconds": seconds,
            "cpu_s": cpu + busy,
            "rank_mb": (resident("self") - before) / 1e6,
            "worker_mb": max(workers) / 1e6,
        }


def resident(process: str) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0


def make(folder: Path, rows: int) -> Path:
    """A data set of `rows` clips, 150 to a source; they are 1024 real ones, over and over."""
    import numpy as np
    import pyarrow as pa

    from vidgen.data.encode import encode_mp4
    from vidgen.data.index_file import write_index
    from vidgen.data.indexing import index_source
    from vidgen.data.manifest import (
        SCHEMA,
        SUMMARY,
        DatasetSummary,
        SourceCounts,
        in_order,
        lengths,
    )
    from vidgen.data.rows import write_rows
    from vidgen.storage.local import LocalStore

    if (folder / SUMMARY).is_file():
        return folder
    store = LocalStore(folder)
    frames = np.random.default_rng(0).integers(0, 255, (FRAMES, SIDE, SIDE, 3), dtype=np.uint8)
    data = encode_mp4(frames, FPS)
    store.write("packs/all.clips", data)
    source = index_source(store, store.stat("packs/all.clips"))
    write_index(store, [source] * CLIPS)
    number = np.arange(rows)
    names = pa.array(np.char.mod("folder/video %07d.mp4", np.arange(rows // 150 + 1)))
    captions = pa.array([f"a caption of about the usual length, number {n}" for n in range(9973)])
    split = np.where(number % 10 == 8, "val", np.where(number % 10 == 9, "test", "train"))
    given = {
        "clip": pa.array(["packs/all.clips"]).take(pa.array(np.zeros(rows, np.int64))),
        "bytes": pa.array(np.full(rows, len(data))),
        "packets": pa.array(number % CLIPS),
        "source": names.take(pa.array(number // 150)),
        "start_s": pa.array((number % 150) * 2.0),
        "duration_s": pa.array(np.full(rows, FRAMES / FPS)),
        # Every source ends with a shorter clip.
        "frames": pa.array(np.where(number % 150 == 149, 11, FRAMES)),
        "fps": pa.array(np.full(rows, float(FPS))),
        "caption": captions.take(pa.array(number % len(captions))),
        "split": pa.array(split),
    }
    blank = {pa.string(): "", pa.int64(): 0, pa.float64(): 0.0}
    table = pa.table(
        {
            field.name: given.get(field.name, pa.repeat(blank[field.type], rows).cast(field.type))
            for field in SCHEMA
        },
        schema=SCHEMA,
    )
    table = in_order(table)
    write_rows(store, table)
    counts = lengths(table)
    summary = DatasetSummary(
        width=SIDE, height=SIDE, fps=FPS, labels=(),
        sources=SourceCounts(seen=len(names), kept=len(names), rejected=0, skipped=0),
        clips={name: sum(each.values()) for name, each in counts.items()},
        lengths=counts, rejects={}, options={},
    )  # fmt: skip
    store.write(SUMMARY, summary.model_dump_json().encode())
    return folder


if __name__ == "__main__":
    raise SystemExit(main())
