"""`vidgen` in this process."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vidgen.cli import cli
from vidgen.console import run

Vidgen = Callable[..., tuple[int, str, str]]  # arguments to (exit code, stdout, stderr)


def call(*argv: str | Path) -> int:
    """The exit code of a command line."""
    with pytest.raises(SystemExit) as stop:
        run(cli, [str(each) for each in argv])
    assert isinstance(stop.value.code, int)
    return stop.value.code


def train_two(folder: Path, config: str) -> tuple[Path, Path]:
    """Two runs that differ in their seed alone, `one` and `two`."""
    (folder / "tiny.yaml").write_text(config)
    for name, seed in (("one", 0), ("two", 1)):
        options = ["--set", f"run={folder / name}", "--set", f"seed={seed}"]
        assert call("train", folder / "tiny.yaml", *options) == 0
    return folder / "one", folder / "two"
