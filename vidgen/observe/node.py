"""Processors, memory and volumes of the node, or of the container that stands for it."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from vidgen.observe.board import Board
from vidgen.observe.metric_table import (
    NODE_CPU,
    NODE_MEMORY_SIZE,
    NODE_MEMORY_USED,
    VOLUME_SIZE,
    VOLUME_USED,
)

_CGROUP = Path("/sys/fs/cgroup")  # version 2, as every current Kubernetes has it


def read_node(board: Board) -> None:
    """Set the node's gauges. CPU use is that since the last call."""
    board.set(NODE_CPU, psutil.cpu_percent(interval=None) / 100)
    used, size = memory()
    board.set(NODE_MEMORY_USED, used)
    board.set(NODE_MEMORY_SIZE, size)
    for volume, path in {"shm": "/dev/shm", "tmp": "/tmp", "home": str(Path.home())}.items():
        try:
            usage = shutil.disk_usage(path)
        except OSError:  # no such volume on this system
            continue
        board.set(VOLUME_USED, usage.used, volume=volume)
        board.set(VOLUME_SIZE, usage.total, volume=volume)


def memory(cgroup: Path = _CGROUP) -> tuple[int, int]:
    """(used, limit) in bytes. Pages that the kernel can drop at once do not count as used."""
    whole = psutil.virtual_memory()
    try:
        limit = int((cgroup / "memory.max").read_text())
        current = int((cgroup / "memory.current").read_text())
        stat = dict(line.split() for line in (cgroup / "memory.stat").read_text().splitlines())
    except (OSError, ValueError):  # no cgroup of its own, or the limit is the word 'max'
        return whole.total - whole.available, whole.total
    return max(0, current - int(stat.get("inactive_file", 0))), min(limit, whole.total)
