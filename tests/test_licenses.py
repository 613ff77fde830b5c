"""Every dependency says what it is for, and its licence is one that fits an Apache-2.0 program."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "licenses.md").read_text()
FINE = re.compile(
    r"(Apache-2\.0|MIT|MIT-0|MIT-CMU|BSD|BSD-[23]-Clause|0BSD|BSL-1\.0|ISC|MPL-2\.0|PSF-2\.0|Zlib|CC0-1\.0)"
    r"( WITH LLVM-exception)?"
)


def rows(part: str) -> list[list[str]]:
    cells = [line.strip("|\n ").split(" | ") for line in part.splitlines() if line.startswith("| ")]
    return [row for row in cells if row[0] != "package"]


def test_the_page_is_up_to_date() -> None:
    command = [sys.executable, ROOT / "docs" / "licenses.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_dependency_says_what_it_is_for() -> None:
    declared = rows(PAGE.partition("## What the engine brings")[0])
    assert len(declared) > 30
    assert [row[0] for row in declared if len(row[1]) < 5] == []


def test_what_users_install_may_be_used_with_it() -> None:
    """Not the tools of tests: nothing of vidgen is linked with these or handed on with them."""
    before, _, after = PAGE.partition("## Tests and tools")
    shipped = rows(before) + rows(after.partition("## What the engine brings")[2])
    assert len(shipped) > 80
    for name, *_, licence, _size in shipped:
        for one in re.split(r" AND | OR ", licence):
            assert FINE.fullmatch(one), f"{name}: {one}"


def test_what_the_page_says_of_the_wheel_of_av() -> None:
    carried = " ".join(str(file) for file in distribution("av").files or ())
    assert ("libx264" in carried) is ("libx264" in PAGE)
