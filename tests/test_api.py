"""docs/api.md lists what others may build on: all of it is there, and nothing taught is missing."""

from __future__ import annotations

import inspect
import json
import re
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "docs"))
import api  # noqa: E402 - a script beside the page that it writes

PAGE = (ROOT / "docs" / "api.md").read_text()

IMPORTS = re.compile(r"^\s*from (vidgen[\w.]*) import ([\w, ]+)", re.M)
# What the pods of a run tell each other.
INTERNAL = {"VIDGEN_CONFIG", "VIDGEN_CONFIG_FILE", "VIDGEN_RUN", "VIDGEN_CLOUD_COMPLETE"}


@pytest.mark.parametrize("module", api.PUBLIC)
def test_names_are_there_and_say_what_they_are(module: str) -> None:
    for name in api.PUBLIC[module]:
        found = getattr(import_module(module), name)
        assert api.explained(found), name
        if inspect.isclass(found):
            own = [
                key
                for key, value in vars(found).items()
                if not key.startswith("_")
                and (inspect.isfunction(value) or type(value) is property)
            ]
            assert [key for key in own if not inspect.getdoc(getattr(found, key))] == []


def taught() -> set[tuple[str, str]]:
    """(module, name) of all that the guides, the notebook and the examples import."""
    texts = [path.read_text() for path in sorted((ROOT / "docs").glob("*.md"))]
    texts += [path.read_text() for path in sorted((ROOT / "examples").glob("*.py"))]
    for path in (ROOT / "examples").glob("*.ipynb"):
        texts += ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]
    return {
        (module, name.split(" as ")[0].strip())
        for text in texts
        for module, names in IMPORTS.findall(text)
        for name in names.split(",")
    }


def test_what_is_taught_is_public() -> None:
    listed = {
        (alias, name)
        for module, names in api.PUBLIC.items()
        for name in names
        for alias in {module, getattr(getattr(import_module(module), name), "__module__", module)}
    }
    assert ("vidgen.models.base", "VideoModel") in taught()
    assert taught() - listed == set()


def test_the_page_is_up_to_date() -> None:
    """Which commands there are comes from the parsers, so one that comes or goes shows here."""
    assert api.filled(PAGE) == PAGE


def test_environment_is_listed() -> None:
    used = {
        name
        for path in (ROOT / "vidgen").rglob("*.py")
        for name in re.findall(r"\bVIDGEN_[A-Z_]+", path.read_text())
    }
    assert set(re.findall(r"`(VIDGEN_\w+)`", PAGE)) == used - INTERNAL


def test_files_are_listed() -> None:
    from vidgen.data import manifest
    from vidgen.storage import run_folder as run

    names = {manifest.MANIFEST, manifest.REJECTS, manifest.SUMMARY, run.CONFIG, run.METRICS}
    names |= {run.REAL_SAMPLES, run.EVAL, run.BENCH, run.REPORT, run.EXPORT, run.COMMITTED}
    assert {name for name in names if f"`{name}`" not in PAGE} == set()
