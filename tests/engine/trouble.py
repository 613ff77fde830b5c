"""What goes wrong on real machines: a worker to kill, a disk that gets full."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def a_worker() -> int:
    """The process of a Ray Train worker."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            title = (folder / "cmdline").read_bytes()
        except OSError:
            continue  # it has just ended
        if title.startswith(b"ray::RayTrainWorker"):
            return int(folder.name)
    raise AssertionError("no Ray Train worker is running")


@contextmanager
def small_disk_at(folder: Path, size: str) -> Iterator[Path]:
    """A file system of that size, such as 500k."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small tmpfs (root, outside a locked container)")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
