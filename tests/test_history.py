"""The notes on what did not work name commits that are there."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NOTES = (ROOT / "docs" / "what-did-not-work.md").read_text()
NAMED = sorted(set(re.findall(r"\b[0-9a-f]{7}\b", NOTES)))


def git(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_every_commit_named_is_in_the_history() -> None:
    if git("rev-parse", "--is-shallow-repository").stdout.strip() != "false":
        pytest.skip("needs the whole history: git fetch --unshallow")
    assert len(NAMED) > 15
    if all(git("cat-file", "-e", each).returncode for each in NAMED):
        pytest.skip("another history: this copy was not cloned from the repository")
    absent = [each for each in NAMED if git("merge-base", "--is-ancestor", each, "HEAD").returncode]
    assert absent == []
