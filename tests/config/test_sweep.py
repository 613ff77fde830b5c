"""Sweep files: what they mean, and that nothing starts which could not have worked."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest

from vidgen.config.families import FAMILIES
from vidgen.config.load import dump, parse_run
from vidgen.config.load_sweep import Sweep, dump_sweep, load_sweep, parse_sweep, sweep_names
from vidgen.config.space import Domain, mutate, sample
from vidgen.errors import ConfigError

GOOD = """\
name: mine
recipe: shapes-demo
set: {train.steps: 600, train.validate_every: 50}
space:
  optimizer.lr: {loguniform: [1e-4, 1e-2]}
  model.depth: {int: [1, 3]}
budget: {trials: 5}
"""


def parse(text: str = GOOD, *overrides: str) -> Sweep:
    return parse_sweep(text, "mine.yaml", overrides)


def spaced(space: str, more: str = "budget: {trials: 6}") -> Sweep:
    return parse(f"name: mine\nrecipe: shapes-demo\nspace:\n  {space}\n{more}\n")


@pytest.mark.parametrize("name", sweep_names())
def test_packaged_sweeps_are_valid_and_read_back_equal(name: str) -> None:
    sweep = load_sweep(name)
    assert sweep.config.name == name.replace("_", "-")
    assert sweep.config.description
    again = parse_sweep(dump_sweep(sweep), "dumped")
    assert again.points == sweep.points
    assert again.base == sweep.base
    assert again.trials == sweep.trials > 1


def test_the_folder_at_the_root_is_the_packaged_one() -> None:
    root = Path(__file__).parents[2] / "tune_configs"
    assert load_sweep(str(root / "flow_asha.yaml")).points == load_sweep("flow_asha").points


def test_there_is_a_sweep_for_each_way_to_search() -> None:
    found = {
        (sweep.config.search.kind, sweep.config.scheduler.kind)
        for sweep in map(load_sweep, sweep_names())
    }
    assert {("random", "asha"), ("random", "pbt"), ("random", "median"), ("grid", "none")} <= found
    assert any(search == "optuna" for search, _ in found)


def test_there_is_a_sweep_for_each_family() -> None:
    tried = set()
    for name in sweep_names():
        sweep = load_sweep(name)
        tried |= {sweep.run_config("x", values).model.family for values in sweep.points or ()}
    # Tests of other rooms add families of their own to the table.
    ours = {name for name, module in FAMILIES.items() if module.startswith("vidgen.models.")}
    assert tried == ours


def test_trials_are_the_same_everywhere_and_more_of_them_change_none() -> None:
    few, many = parse().points, parse(GOOD, "budget.trials=50").points
    assert few is not None
    assert many is not None
    assert many[:5] == few
    assert len({tuple(values.items()) for values in many}) == 50
    rates = [values["optimizer.lr"] for values in many]
    assert 1e-4 <= min(rates) < 4e-4
    assert 3e-3 < max(rates) <= 1e-2
    assert 8 < sum(rate < 1e-3 for rate in rates) < 42  # half of them, as logarithms are
    assert {values["model.depth"] for values in many} == {1, 2, 3}


def test_a_trial_is_a_run_that_vidgen_train_reads() -> None:
    sweep = parse(GOOD, "metric=val_loss_video", "mode=max")
    assert sweep.points is not None
    config = sweep.run_config("t003", sweep.points[3])
    assert parse_run(dump(config), "trial") == config
    assert config.name == "mine-t003"
    assert config.run == "sweeps/mine/trials/t003"
    assert config.optimizer.lr == sweep.points[3]["optimizer.lr"]
    assert config.scale.workers == 1
    assert (config.early_stop.metric, config.early_stop.mode) == ("val_loss_video", "max")
    assert config.train.steps == 600


def test_named_choices_merge_into_their_group_and_a_family_replaces_it() -> None:
    sweep = spaced("""model:
    choice:
      wide: {width: 192, heads: 6}
      other: {family: recurrent, past_frames: 8, patch: 4}""")
    wide = sweep.run_config("a", {"model": "wide"}).model.model_dump()
    assert (wide["family"], wide["width"], wide["depth"]) == ("flow", 192, 4)
    other = sweep.run_config("b", {"model": "other"}).model
    assert other.family == "recurrent"
    assert other.conditions != ("text",)


def test_conditions_hold_or_the_key_is_left_alone() -> None:
    sweep = spaced(
        "optimizer.name: {choice: [adamw, sgd]}\n"
        "  optimizer.momentum: {uniform: [0.1, 0.2], when: {optimizer.name: sgd}}",
        "budget: {trials: 40}",
    )
    assert sweep.points is not None
    for values in sweep.points:
        config = sweep.run_config("x", values)
        sgd = config.optimizer.name == "sgd"
        assert ("optimizer.momentum" in values) == sgd
        assert (config.optimizer.momentum == 0.9) != sgd
    assert {len(values) for values in sweep.points} == {1, 2}


def test_a_grid_is_every_point_once_and_conditions_make_points_equal() -> None:
    sweep = spaced(
        "optimizer.name: {choice: [adamw, sgd]}\n"
        "  optimizer.momentum: {choice: [0.5, 0.9], when: {optimizer.name: sgd}}\n"
        "  model.depth: {int: [2, 6], step: 2}",
        "search: {kind: grid}",
    )
    assert sweep.points is not None
    assert len(sweep.points) == sweep.trials == (1 + 2) * 3


def test_grids_of_a_random_search_come_equally_often() -> None:
    sweep = spaced("optimizer.lr: {uniform: [0.1, 0.2]}\n  seed: {grid: [1, 2, 3]}")
    assert sweep.points is not None
    assert sorted(values["seed"] for values in sweep.points) == [1, 1, 2, 2, 3, 3]
    assert len({values["optimizer.lr"] for values in sweep.points}) == 6


def test_mutation_moves_only_what_it_may_and_stays_inside() -> None:
    space = {
        "lr": Domain(loguniform=(1e-4, 1e-2)),
        "kind": Domain(choice=("a", "b", "c")),
        "depth": Domain(int=(1, 9)),
        "fixed": Domain(uniform=(0, 1)),
    }
    values = {"lr": 1e-2, "kind": "a", "depth": 9, "fixed": 0.5}
    rng = random.Random(0)
    moved = [mutate(space, ["lr", "kind", "depth"], values, 0.0, rng) for _ in range(50)]
    assert {each["lr"] for each in moved} == {1e-2, 8e-3}
    assert {each["kind"] for each in moved} == {"a", "b"}
    assert {each["depth"] for each in moved} == {7, 9}
    assert {each["fixed"] for each in moved} == {0.5}
    fresh = [mutate(space, ["lr"], values, 1.0, rng)["lr"] for _ in range(50)]
    assert len(set(fresh)) > 40
    assert all(1e-4 <= rate <= 1e-2 for rate in fresh)


def test_a_key_more_changes_none_of_the_others() -> None:
    small = {"a": Domain(uniform=(0, 1))}
    large = {"b": Domain(uniform=(0, 1)), **small}
    for number in range(5):
        assert sample(small, 0, number)["a"] == sample(large, 0, number)["a"]


REFUSED = {
    "unknown key of the sweep": (
        ["budget.trails=3"], "--set: unknown key 'budget.trails' (did you mean 'trials'?)",
    ),
    "unknown key of a run": (
        ["space={optimizer.lrr: {uniform: [0.1, 1]}}"],
        "unknown key 'optimizer.lrr' (did you mean 'lr'?)",
    ),
    "a group that is none": (
        ["space={optimzer.lr: {uniform: [0.1, 1]}}"],
        "unknown key 'optimzer' (did you mean 'optimizer'?)",
    ),
    "no space": (["space={}"], "the space is empty: name at least one key"),
    "empty range": (["space={seed: {int: [3, 3]}}"], "the space from 3 to 3 is empty"),
    "backwards": (["space={seed: {int: [5, 3]}}"], "the space from 5 to 3 is empty"),
    "no choices": (["space={seed: {choice: []}}"], "the space is empty: list at least one"),
    "twice": (["space={seed: {choice: [1, 1]}}"], "the same value is listed twice"),
    "two kinds": (["space={seed: {choice: [1], int: [1, 2]}}"], "exactly one of loguniform"),
    "no kind": (["space={seed: {when: {seed: 1}}}"], "exactly one of loguniform"),
    "log of zero": (["space={optimizer.lr: {loguniform: [0, 1]}}"], "needs positive bounds"),
    "not for trials": (["space={scale.workers: {choice: [1]}}"], "cannot be tried out"),
    "steps": (["space={train.steps: {choice: [1]}}"], "cannot be tried out"),
    "invalid corner": (
        ["space={model.width: {choice: [128, 130]}}"],
        "width 130 over heads 4 must be even and at least 6",
    ),
    "invalid only together": (
        ["space={model.width: {choice: [96, 120]}, model.heads: {choice: [4, 8, 5]}}"],
        "width 96 over heads 5 must be even",
    ),
    "invalid value": (
        ["space={optimizer.lr: {uniform: [-1, 1]}}"],
        "optimizer.lr: input should be greater than 0 (got -1.0); the space makes trials with "
        "optimizer.lr=-1.0",
    ),
    "wrong kind of value": (["space={train.batch_size: {uniform: [1, 9]}}"], "train.batch_size: "),
    "condition on nothing": (
        ["space={seed: {int: [1, 2], when: {optimizer.nmae: sgd}}}"],
        "`when` asks for 'optimizer.nmae', which no trial has",
    ),
    "grid of anything": (["search.kind=grid"], "search.kind grid needs values it can list"),
    "grid larger than the budget": (
        ["search.kind=grid", "space={seed: {int: [1, 9]}}"], "the grid has 9 points and budget",
    ),
    "endless": (["budget={}"], "budget.trials is missing: a random search has no end"),
    "optuna on a grid": (
        ["search.kind=optuna", "space={seed: {grid: [1, 2]}}"], "optuna walks no grid",
    ),
    "pbt without anything to mutate": (
        ["scheduler.kind=pbt", "space={model.depth: {int: [1, 2]}}"], "pbt has nothing to mutate",
    ),
    "pbt mutates what is not there": (
        ["scheduler={kind: pbt, mutate: [optimizer.lrr]}"],
        "scheduler.mutate: 'optimizer.lrr' is not in the space (did you mean 'optimizer.lr'?)",
    ),
    "pbt looks between validations": (
        ["scheduler={kind: pbt, interval_steps: 75}"], "a multiple of train.validate_every = 50",
    ),
    "no validation": (["set={train.validate_every: 0}"], "trials never report val_loss"),
    "stopped before the first validation": (
        ["scheduler={kind: asha, grace_steps: 10}"], "validate every 50 steps and may be stopped",
    ),
    "never stopped": (["scheduler={kind: median, grace_steps: 600}"], "no trial would ever be"),
    "unknown recipe": (["recipe=shapes-dmeo"], "no recipe or file 'shapes-dmeo'"),
    "wrong key under set": (["set={train.stepz: 3}"], "unknown key 'train.stepz'"),
}  # fmt: skip


@pytest.mark.parametrize(("overrides", "message"), REFUSED.values(), ids=REFUSED)
def test_what_could_not_work_is_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(GOOD, *overrides)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_messages_name_the_line_of_the_sweep() -> None:
    with pytest.raises(ConfigError, match=r"^mine.yaml:5: optimizer.lr: input should be"):
        parse(GOOD.replace("loguniform: [1e-4", "uniform: [-1"))
    with pytest.raises(ConfigError, match=r"^mine.yaml:6: unknown key 'model.dpeth'"):
        parse(GOOD.replace("model.depth", "model.dpeth"))


def test_a_sweep_is_checked_without_the_engine(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD)
    script = (
        "import sys\n"
        "from vidgen.cli import main\n"
        f"sys.argv = ['vidgen', 'tune', {str(tmp_path / 'mine.yaml')!r}, '--dry-run', '--json']\n"
        "try: main()\n"
        "except SystemExit as stop: assert not stop.code, stop.code\n"
        "heavy = {'torch', 'ray', 'numpy', 'optuna', 'pyarrow'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert '"trials": 5' in done.stdout
