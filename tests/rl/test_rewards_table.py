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
        recipe = load_run(row.recipe)
        assert recipe.reward is not None
        shared = []
        if row.codec:
            shared = [f"model.codec.run={recipe.model.codec.run}"]  # type: ignore[attr-defined]
            load_run(row.codec[0], list(row.codec[1:]))
        start = load_run(row.start, [*row.half, *shared])
        free = {name: getattr(recipe.model, name) for name in recipe.model.free}
        assert start.model.model_copy(update=free) == recipe.model
        assert (start.data.frames, start.data.height) == (recipe.data.frames, recipe.data.height)
        assert start.data.synthetic == recipe.data.synthetic
        assert start.train.steps < load_run(row.start).train.steps


def outcome(table: ModuleType, reward: float, right: float, **keys: float) -> object:
    scores = {
        "generated": {
            "reward": reward, "colour_right": right, "shape_right": 0.5, "all_right": 0.1,
            "recall_st-stats": 0.25,
        },
        "the start": {"reward": 0.5},
    }  # fmt: skip
    found = {"learner": "nft", "minutes": 1.25, "kl": 0.02, "diversity": 0.625, **keys}
    return table.Tuned(scores=scores, **found)


def test_a_line_of_what_a_judge_sees(table: ModuleType) -> None:
    row = table.ROWS[0]
    start = outcome(table, 0.5, 0.5).scores  # type: ignore[attr-defined]
    tuned = [outcome(table, 0.75, 0.9), outcome(table, 0.8, 1.0, kl=0.051)]
    line = table._line(row, start, 2.0, tuned)
    assert line == (
        "| flow | `shapes-flow-reward` | nft | caption agreement | 50.0% | "
        "70.0%, 75.0% (+15 points: met) | 0.020, 0.051 (<= 0.05: missed) | "
        "0.62, 0.62 (>= 0.33: met) | 0.25 | 0.25, 0.25 (>= 0.15: met) | 2.0, 1.2, 1.2 |"
    )
    assert line.count("|") == len(table.HEAD) + 1


def test_a_line_of_a_reward_alone(table: ModuleType) -> None:
    row = next(row for row in table.ROWS if not row.judged)
    start = outcome(table, 0.5, 0.5).scores  # type: ignore[attr-defined]
    tuned = [outcome(table, 0.75, 0.5), outcome(table, 0.64, 0.5, diversity=0.4)]
    line = table._line(row, start, 2.0, tuned)
    assert "| its reward | 50.0% | 75.0%, 64.0% (+15 points: missed) |" in line
    assert "0.62, 0.40 (>= 0.5: missed)" in line
