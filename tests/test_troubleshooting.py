"""Every line that the guide to troubles quotes is one that the program prints."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "troubleshooting.md").read_text()
BLOCKS = [
    line for block in re.findall(r"```\n(.*?)```", GUIDE, re.S) for line in block.splitlines()
]
CELLS = re.findall(r"^\| `([^`]+)`", GUIDE, re.M)
# Where an error puts `expected` and `fix`, a sentence or a part of one ends.
_BREAKS = r"…|; expected |(?<=[\w)'*.])\. (?=[A-Za-z`])"


def literals() -> set[str]:
    """The constant parts of all texts of the package."""
    return {
        node.value
        for path in (ROOT / "vidgen").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


TEXT = "\0".join(literals())


def test_there_are_quotes() -> None:
    assert len(BLOCKS) > 40
    assert len(CELLS) > 15


@pytest.mark.parametrize("line", [*BLOCKS, *CELLS])
def test_the_program_says_so(line: str) -> None:
    said = re.sub(r"^(error|interrupted): ", "", line)
    said = re.sub(r" \(did you mean '…'\?\)", "", said)
    parts = [part.strip(" .") for part in re.split(_BREAKS, said)]
    missing = [part for part in parts if len(part) > 3 and part not in TEXT]
    assert missing == []
    assert any(len(part) > 7 for part in parts), "too little to recognise"
