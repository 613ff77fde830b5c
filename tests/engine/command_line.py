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
