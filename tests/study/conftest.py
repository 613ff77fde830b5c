"""Two folders of small videos, 'good' moves smoothly and 'bad' jumps; and a browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import Browser, browser
from planted_study import folder_of


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("videos")
    return folder_of(root, "good", jumps=False), folder_of(root, "bad", jumps=True)


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this room."""
    with browser(tmp_path_factory.mktemp("study-browser")) as opened:
        yield opened
