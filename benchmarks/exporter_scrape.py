"""How long a scrape of a node's exporter takes with many workers on it.

    python benchmarks/exporter_scrape.py [--workers 16] [--scrapes 40] [--json]

Starts the workers as real processes, each with all series that a rank has, and scrapes their port
as Prometheus does. Prints the slowest of 40 scrapes in milliseconds (limit 50). Exit code 1 over
the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

LIMIT_MS = 50.0
_WORKER = """
import sys
from vidgen.observe.metric_table import METRICS, PHASES
from vidgen.observe.exporter import Exporter
with Exporter(run="benchmark", rank=sys.argv[1]) as exporter:
    board = exporter.board
    for metric in METRICS.values():
        if metric.labels[0] != "run":
            continue
        for value in PHASES if metric.labels[-1] == "phase" else ("a", "b"):
            labels = {name: value for name in metric.labels[1:] if name != "rank"}
            do = {"gauge": board.set, "counter": board.add, "histogram": board.observe}
            do[metric.kind](metric, 0.5, **labels)
    print("ready", flush=True)
    sys.stdin.read()
"""


def measure(workers: int, scrapes: int) -> dict[str, float]:
    """Milliseconds of scrapes, and how many series each returned."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = {**os.environ, "VIDGEN_METRICS_PORT": str(port), "VIDGEN_METRICS_LINGER_S": "5"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WORKER, str(rank)], env=env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for rank in range(workers)
    ]  # fmt: skip
    try:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        text = ""
        deadline = time.monotonic() + 60
        while len(
            {line for line in text.splitlines() if line.startswith("vidgen_step_seconds_sum")}
        ) < (workers):
            if time.monotonic() > deadline:
                raise SystemExit("the exporter does not show all workers")
            time.sleep(0.2)
            text = _scrape(port) or ""
        took = []
        for _ in range(scrapes):
            began = time.perf_counter()
            text = _scrape(port) or ""
            took.append((time.perf_counter() - began) * 1e3)
            time.sleep(0.1)
    finally:
        for process in processes:
            process.kill()
            process.wait()
    series = sum(not line.startswith("#") for line in text.splitlines())
    return {"slowest_ms": max(took), "median_ms": statistics.median(took), "series": series}


def _scrape(port: int) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            return str(answer.read().decode())
    except OSError:  # not up yet
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=16)
    parser.add_argument("--scrapes", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure(options.workers, options.scrapes)
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"scrape of {options.workers} workers, {found['series']} series: slowest "
            f"{found['slowest_ms']:.1f} ms (limit {LIMIT_MS:g}), median {found['median_ms']:.1f} ms"
        )
    return int(found["slowest_ms"] > LIMIT_MS)


if __name__ == "__main__":
    sys.exit(main())
