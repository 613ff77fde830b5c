"""Processes with metrics, and the scrapes of the port that serves them, for several tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import psutil
from prometheus_client.parser import text_string_to_metric_families

# Becomes rank sys.argv[1] of run 'r', is at step sys.argv[2], and ends with its input.
_RANK = """
import sys, time
from vidgen.observe.exporter import Exporter
from vidgen.observe.metric_table import DATA_CLIPS, LAST_STEP_TIME, PHASE_SECONDS, STEP_SECONDS
with Exporter(run="r", rank=sys.argv[1]) as exporter:
    exporter.board.add(DATA_CLIPS, float(sys.argv[2]))
    exporter.board.set(LAST_STEP_TIME, time.time())
    exporter.board.observe(STEP_SECONDS, 0.1)
    exporter.board.observe(PHASE_SECONDS, 0.1, phase="forward")
    print("ready", flush=True)
    sys.stdin.read()
"""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Node:
    """A port, and ranks that tell their metrics there."""

    def __init__(self, linger_s: float = 1.0) -> None:
        self.port = free_port()
        self.ranks: list[subprocess.Popen[str]] = []
        self.env = {
            **os.environ,
            "VIDGEN_METRICS_PORT": str(self.port),
            "VIDGEN_METRICS_LINGER_S": str(linger_s),
        }

    def start(self, rank: int, clips: int) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", _RANK, str(rank), str(clips)],
            env=self.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True,
        )  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        self.ranks.append(process)
        return process

    def scrape(self) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    def series(self) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        """Every sample by name and labels. Fails when one is there twice, or a metric is."""
        text = self.scrape()
        samples = [
            (sample.name, tuple(sorted(sample.labels.items())), sample.value)
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        ]
        twice = [key for key, n in Counter(each[:2] for each in samples).items() if n > 1]
        assert not twice, twice
        heads = [line for line in text.splitlines() if line.startswith("# TYPE")]
        assert len(heads) == len(set(heads))
        return {(name, labels): value for name, labels, value in samples}

    def clips(self) -> dict[str, float]:
        """Clips by rank."""
        return {
            dict(labels)["rank"]: value
            for (name, labels), value in self.series().items()
            if name == "vidgen_data_clips_total"
        }

    def until(self, clips: dict[str, float], seconds: float = 20) -> None:
        """Wait until a scrape says so."""
        wait_until(lambda: self.clips() == clips, seconds)

    def server(self) -> int | None:
        """Process id of the server."""
        mine = ["-m", "vidgen.observe.node_server", str(self.port)]
        found = [
            process.pid
            for process in psutil.process_iter(["cmdline"])
            if (process.info["cmdline"] or [])[1:] == mine
        ]
        return max(found, default=None)  # a starting one is two processes for a moment

    def close(self) -> None:
        for process in self.ranks:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        if (server := self.server()) is not None:
            with suppress(ProcessLookupError):
                os.kill(server, signal.SIGKILL)


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """Returns as soon as it holds; a refused connection is a no."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(OSError):
            if true():
                return
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.1)
