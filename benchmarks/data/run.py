"""vidgen's clip reader beside its peers: one command, one table.

    pip install -e '.[train,dev,bench-data]'
    python benchmarks/data/run.py [--footage FOLDER] [--quick] [--out FILE.json]

Clips are 16 frames, stride 2, 128x128, cut at random times from H.264 videos of 1280x720: 10
minutes or 6 seconds long, a key frame every 30 or 250 frames. They come from a real S3 server on
loopback through a proxy that adds latency to every request and counts. Each reader runs in a fresh
process with two worker processes; readers take turns in each round and the table shows medians of
the rounds. The first run makes the videos: several minutes, 2 GB in --work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from decoding import decoding
from measure import Result, measure
from readers import MIXED, READERS, UNFILTERED, Task, key
from servers import s3_server, wire
from videos import GOPS, KINDS, LONG_OBJECTS, LONG_S, SHORT_OBJECTS, SHORT_S, make_videos

WHOLE_FILES = {"torchcodec, whole files", "decord", "MosaicML Streaming", "WebDataset"}
LATENCIES = (0.0, 0.02)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--footage", type=Path, help="folder of real clips; default: made noise")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir(), "vidgen-bench"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="one round, few clips")
    parser.add_argument("--kinds", nargs="*", default=KINDS, choices=KINDS)
    parser.add_argument("--gops", nargs="*", type=int, default=GOPS, choices=GOPS)
    parser.add_argument("--latencies", nargs="*", type=float, default=LATENCIES)
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--out", type=Path, help="write everything as JSON")
    asked = parser.parse_args()
    _share_ffmpeg()
    asked.buckets = make_videos(asked.work, asked.footage)
    rounds = 1 if asked.quick else asked.rounds
    found: dict[str, Any] = {"decoding": {}, "reading": {}, "indexing": {}}
    for kind in asked.kinds:
        for gop in asked.gops:
            found["decoding"][f"{kind} {gop}"] = decoding(_task(asked, kind, gop, clips=9))
            show_decoding(f"{kind} {gop}", found["decoding"][f"{kind} {gop}"])
    with s3_server(asked.buckets) as server:
        for latency in asked.latencies:
            with wire(server, latency_s=latency) as line:
                for kind in asked.kinds:
                    for gop in asked.gops:
                        name = f"{kind} sources, GOP {gop}, {latency * 1000:.0f} ms"
                        task = _task(asked, kind, gop, endpoint=line.url)
                        found["indexing"][name] = index(task, line)
                        results = compare(asked.readers, task, line, rounds, quick=asked.quick)
                        found["reading"][name] = {n: asdict(r) for n, r in results.items()}
                        show(name, results, found["indexing"][name])
    if asked.out:
        asked.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


def compare(
    names: list[str], task: Task, line: Any, rounds: int, *, quick: bool
) -> dict[str, Result]:
    """Median of the rounds for each reader."""
    found: dict[str, list[Result]] = {name: [] for name in names}
    for turn in range(rounds):
        for name in names:
            if any(result.error for result in found[name]):
                continue
            few = task.duration_s == LONG_S and name in WHOLE_FILES
            clips = (12 if quick else 20) if few else (24 if quick else 64)
            with _scratch() as scratch:
                fields = {**asdict(task), "clips": clips, "scratch": scratch, "seed": turn}
                found[name].append(measure(name, Task(**fields), line, timeout_s=300))
    return {name: _median(results) for name, results in found.items()}


def index(task: Task, line: Any) -> dict[str, float]:
    """Write the packet index of a bucket; what one source took."""
    from readers import _store

    from vidgen.data.index_file import write_index
    from vidgen.data.indexing import index_source

    store = _store(task)
    before = line.counts()
    sources = [index_source(store, store.stat(key(number))) for number in range(task.objects)]
    after = line.counts()
    write_index(store, sources)
    return {
        "requests": (after[0] - before[0]) / task.objects - 1,  # one more asks for the size
        "bytes": (after[1] - before[1]) / task.objects,
        "source_bytes": sources[0].size,
        "packets": len(sources[0].packets),
    }


def show(title: str, results: dict[str, Result], made: dict[str, float]) -> None:
    print(f"\n{title}; the index took {made['requests']:.1f} requests and ", end="")
    print(f"{made['bytes'] / 1e6:.2f} of {made['source_bytes'] / 1e6:.1f} MB per source\n")
    print(f"| {'reader':27} | clips/s | CPU s/clip | MB/clip | requests/clip | peak MB |")
    print(f"|{'-' * 29}|--------:|-----------:|--------:|--------------:|--------:|")
    for reader, result in results.items():
        if result.error:
            print(f"| {reader:27} | {result.error[:60]}")
            continue
        print(
            f"| {reader:27} | {result.rate:7.2f} | {result.cpu_s:10.3f} "
            f"| {result.fetched / 1e6:7.2f} | {result.requests:13.1f} | {result.peak_mb:7.0f} |"
        )
    peers = [
        r for n, r in results.items() if n not in ("vidgen", UNFILTERED, MIXED) and not r.error
    ]
    for name in ("vidgen", UNFILTERED):
        ours = results.get(name)
        if ours and not ours.error and peers:
            fastest = max(peers, key=lambda result: result.rate)
            thriftiest = min(peers, key=lambda result: result.cpu_s)
            print(f"\n{name}: clips/s {ours.rate / fastest.rate:.2f}x the best peer's, ", end="")
            print(f"CPU {ours.cpu_s / thriftiest.cpu_s:.2f}x the thriftiest's", flush=True)


def show_decoding(name: str, spent: dict[str, float]) -> None:
    print(f"\ndecoding from local files, {name}: CPU ms per clip, and vidgen's share of it")
    for way, seconds in spent.items():
        print(f"  {way:42} {seconds * 1000:7.1f} {spent['vidgen'] / seconds:6.2f}x", flush=True)


def _task(asked: Any, kind: str, gop: int, *, endpoint: str = "", clips: int = 0) -> Task:
    bucket = f"{kind}-{gop}"
    return Task(
        endpoint=endpoint,
        bucket=bucket,
        folder=str(asked.buckets / bucket),
        objects=LONG_OBJECTS if kind == "long" else SHORT_OBJECTS,
        duration_s=LONG_S if kind == "long" else SHORT_S,
        clips=clips,
        workers=asked.workers,
        scratch="",
    )


def _median(results: list[Result]) -> Result:
    bad = [result for result in results if result.error]
    if bad:
        return bad[0]
    names = [name for name in asdict(results[0]) if name != "error"]
    return Result(**{name: median(getattr(r, name) for r in results) for name in names})


@contextmanager
def _scratch() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="vidgen-bench-") as folder:
        yield folder


def _share_ffmpeg() -> None:
    """Give torchcodec PyAV's FFmpeg, where the machine has none: the same build for both."""
    import av

    libraries = Path(av.__file__).parent.parent / "av.libs"
    if not libraries.is_dir() or str(libraries) in os.environ.get("LD_LIBRARY_PATH", ""):
        return
    links = Path(tempfile.mkdtemp(prefix="vidgen-bench-ffmpeg-"))
    for path in libraries.glob("lib*"):
        name, _, rest = path.name.partition("-")
        version = rest.partition(".so.")[2].split(".")[0]
        if name.startswith(("libav", "libsw")) and version:
            (links / f"{name}.so.{version}").symlink_to(path)
    paths = [str(links), str(libraries), os.environ.get("LD_LIBRARY_PATH", "")]
    os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, paths))
    os.execv(sys.executable, [sys.executable, *sys.argv])  # the loader reads it at the start only


if __name__ == "__main__":
    raise SystemExit(main())
