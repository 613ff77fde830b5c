"""One reader in a fresh process, once it is warm: its rate, CPU, memory, requests and bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from readers import Task
from servers import Wire

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True)
class Result:
    """Per clip, of the clips after the warm-up.

    Attributes:
        clips: how many.
        rate: clips per second.
        cpu_s: processor seconds per clip, of the reader's processes alone.
        requests, fetched: answers and bytes per clip that came over the wire.
        peak_mb: most memory of all its processes together, shared pages counted once, MB.
        error: why there is no result.
    """

    clips: int = 0
    rate: float = 0.0
    cpu_s: float = 0.0
    requests: float = 0.0
    fetched: float = 0.0
    peak_mb: float = 0.0
    error: str = ""


def measure(name: str, task: Task, wire: Wire, *, timeout_s: float) -> Result:
    """Run a reader; it says 'ready' when warm and 'done' at the end, and then waits."""
    path = Path(task.scratch) / "task.json"
    path.write_text(json.dumps(asdict(task)))
    here = Path(__file__).parent
    errors = Path(task.scratch) / "stderr"
    child = subprocess.Popen(
        [sys.executable, str(here / "readers.py"), name, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=errors.open("wb"),
        text=True,
        start_new_session=True,
    )
    peak = _Peak(child.pid)
    timer = threading.Timer(timeout_s, _end, [child])
    timer.start()
    try:
        if _line(child) != ["ready"]:
            return Result(error=_why(errors))
        began, cpu, (requests, fetched) = time.monotonic(), tree_cpu(child.pid), wire.counts()
        done = _line(child)
        if done[:1] != ["done"]:
            return Result(error=_why(errors))
        clips = int(done[1]) - 2 * task.workers
        seconds = time.monotonic() - began
        cpu = tree_cpu(child.pid) - cpu
        requests_now, fetched_now = wire.counts()
        return Result(
            clips=clips,
            rate=clips / seconds,
            cpu_s=cpu / clips,
            requests=(requests_now - requests) / clips,
            fetched=(fetched_now - fetched) / clips,
            peak_mb=peak.stop() / 1e6,
        )
    finally:
        timer.cancel()
        peak.stop()
        _end(child)


def tree(pid: int) -> list[int]:
    """A process and all below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def tree_cpu(pid: int) -> float:
    """Processor seconds of a process tree so far, dead children included."""
    ticks = 0
    for one in tree(pid):
        with suppress(OSError):
            fields = Path(f"/proc/{one}/stat").read_text().rpartition(")")[2].split()
            ticks += sum(map(int, fields[11:15]))  # utime, stime, cutime, cstime
    return ticks / _TICKS


class _Peak:
    """The most memory of a process tree, sampled."""

    def __init__(self, pid: int) -> None:
        self.pid, self.most = pid, 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self.most

    def _sample(self) -> None:
        while not self._over.wait(0.5):
            total = 0
            for one in tree(self.pid):
                with suppress(OSError):
                    for line in Path(f"/proc/{one}/smaps_rollup").read_text().splitlines():
                        if line.startswith("Pss:"):
                            total += int(line.split()[1]) * 1024
            self.most = max(self.most, total)


def _line(child: subprocess.Popen[str]) -> list[str]:
    assert child.stdout is not None
    return child.stdout.readline().split()


def _why(errors: Path) -> str:
    lines = errors.read_text(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "took too long, or ended without a word"


def _end(child: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(child.pid, 9)
    child.wait()
