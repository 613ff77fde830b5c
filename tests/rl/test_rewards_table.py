"""The table of measured gains: its recipes exist and fit, and a line says what was found."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from vidgen.config.load import load_run


@pytest.fixture(scope="module")
def table() -> Iterator[ModuleType]:
    path = Path(__file__).parents[2] / "examples" / "rewards.py"
    spec = importlib.util.spec_from_file_location("rewards_table", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    sys.path.insert(0, str(path.parent))  # as it is for a script
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(str(path.parent))


def test_a_start_has_the_model_and_clips_that_its_recipe_goes_on_with(table: ModuleType) -> None:
    for row in table.ROWS:
        recipe, start = load_run(row.recipe), load_run(row.start, list(row.half))
        assert recipe.reward is not None
        free = {name: getattr(recipe.model, name) for name in recipe.model.free}
        assert start.model.model_copy(update=free) == recipe.model
        assert (start.data.frames, start.data.height) == (recipe.data.frames, recipe.data.height)
        assert start.data.synthetic == recipe.data.synthetic
        assert start.train.steps < load_run(row.start).train.steps


def test_a_line(table: ModuleType) -> None:
    def last(reward: float) -> dict[str, float]:
        return {
            "val_reward": reward, "val_reward_start": 0.5, "val_diversity": 0.1,
            "val_diversity_start": 0.2, "val_moved": 0.01,
        }  # fmt: skip

    def scores(right: float) -> dict[str, float]:
        return {
            "colour_right": right, "shape_right": 0.5, "all_right": 0.1, "recall_st-stats": 0.25
        }  # fmt: skip

    tuned = [
        table.Tuned(learner="nft", minutes=1.0, last=last(0.75), scores=scores(0.9)),
        table.Tuned(learner="nft", minutes=1.5, last=last(0.8), scores=scores(1.0)),
    ]
    line = table._line(table.ROWS[0], scores(0.5), tuned)
    assert line == (
        "| flow | `shapes-flow-reward` | nft | 0.500 | 0.750, 0.800 | 50.0% | 70.0%, 75.0% | "
        "0.50, 0.50 | 0.25 | 0.25, 0.25 | 0.010, 0.010 | 1.0, 1.5 |"
    )
    assert line.count("|") == len(table.HEAD) + 1
