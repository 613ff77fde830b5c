"""YAML and Python that guides show: configs load, code runs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import yaml
from test_guides import ROOT

from vidgen.config.load import parse_run, recipe_text
from vidgen.config.load_sweep import parse_sweep

# Guides whose YAML is a run config or part of one, and a recipe that it fits.
# tests/test_extending.py has the blocks of extending.md.
PARTS = {
    "models": "shapes-simvp",
    "observability": "shapes-demo",
    "rewards": "shapes-flow-reward",
    "training": "shapes-latent-flow",
}


def blocks(guide: str, language: str) -> list[str]:
    text = (ROOT / "docs" / f"{guide}.md").read_text()
    return re.findall(rf"```{language}\n(.*?)```", text, re.S)


def merged(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    both = {
        key: merged(values[key], more[key])
        for key in values.keys() & more.keys()
        if isinstance(values[key], dict) and isinstance(more[key], dict)
    }
    return values | more | both


def test_no_block_is_left_out() -> None:
    guides = {path.stem for path in (ROOT / "docs").glob("*.md") if blocks(path.stem, "yaml")}
    assert guides == {*PARTS, "sweeps", "extending"}
    coded = {path.stem for path in (ROOT / "docs").glob("*.md") if blocks(path.stem, "python")}
    assert coded == {"evaluation", "extending"}


@pytest.mark.parametrize("guide", PARTS)
def test_configs_load(guide: str) -> None:
    for block in blocks(guide, "yaml"):
        shown = yaml.safe_load(block)
        whole = "name" in shown
        values = shown if whole else merged(yaml.safe_load(recipe_text(PARTS[guide])), shown)
        parse_run(yaml.safe_dump(values), f"{guide}.md")


def test_the_sweep_loads() -> None:
    for block in blocks("sweeps", "yaml"):
        parse_sweep(block, "sweeps.md")


def test_code_runs() -> None:
    generator = torch.Generator().manual_seed(0)
    for block in blocks("evaluation", "python"):
        real, fake = torch.randint(0, 256, (2, 8, 3, 16, 32, 32), generator=generator)
        names: dict[str, Any] = {"real_videos": real.byte(), "fake_videos": fake.byte()}
        code, last = block.strip().rsplit("\n", 1)
        exec(code, names)
        assert float(eval(last, names)) > 0
