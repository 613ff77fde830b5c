"""Whole sweeps of tiny runs: what trials leave, what is stopped, what fails and what goes on."""

from __future__ import annotations

import dataclasses
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tune.conftest import MakeSweep, left_over

from vidgen.config.load import load_run
from vidgen.config.sweep import BudgetConfig
from vidgen.errors import ConfigError, TrainingError
from vidgen.storage.run_folder import RunFolder
from vidgen.tune.folder import SweepFolder
from vidgen.tune.tune import tune

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.xdist_group("tune")]


def assert_nothing_is_left(seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while left_over() != ([], []):
        assert time.monotonic() < deadline, left_over()
        time.sleep(0.2)


def steps_of(folder: SweepFolder, trial: str) -> list[int]:
    return [line["step"] for line in folder.run(trial).metrics() if "val_loss" in line]


def test_halving_stops_what_falls_behind(make_sweep: MakeSweep) -> None:
    """Learning rates from useless to good, the good first: those that follow are given up."""
    rates = [0.03, 0.1, 1e-5, 1e-6]
    sweep = make_sweep(
        space={"optimizer.lr": {"grid": rates}, "seed": {"choice": [0]}},
        concurrent=1,  # one after the other, so that it is known who compares with whom
        scheduler={"kind": "asha", "grace_steps": 2, "reduction": 2},
        final={"top": 2, "clips": 4, "split": "test"},
    )
    book = tune(sweep)
    folder = SweepFolder(sweep.url)
    trials = {trial.values["optimizer.lr"]: trial for trial in book.trials()}
    assert [trials[rate].state for rate in rates[2:]] == ["stopped", "stopped"]
    assert trials[0.1].state == "done"
    assert trials[1e-6].step < 12
    assert steps_of(folder, trials[1e-6].name)[-1] < 12
    assert book.saved_s > 0
    for trial in book.trials():  # an ordinary run folder
        run = RunFolder(f"{sweep.url}/trials/{trial.name}")
        assert run.config().optimizer.lr == trial.values["optimizer.lr"]
        if trial.state == "done":
            assert run.checkpoint_steps()[-1] == 12
    best = min(book.trials(), key=lambda trial: trial.score or 9)
    config = load_run(f"{sweep.url}/best.yaml")
    assert config.optimizer.lr == best.values["optimizer.lr"]
    assert config.scale.workers == 0
    assert config.run is None
    table = pq.read_table(Path(sweep.url, "results.parquet")).to_pylist()
    assert [row["state"] for row in table] == [trial.state for trial in book.trials()]
    assert {row["optimizer.lr"] for row in table} == set(rates)
    measured = [trial for trial in book.trials() if trial.final]
    assert len(measured) == 2
    assert all("validation_loss" in trial.final for trial in measured)
    page = Path(sweep.url, "sweep.html").read_text()
    assert "optimizer.lr" in page
    assert_nothing_is_left()

    with pytest.raises(ConfigError, match=r"holds a sweep already.*--resume"):
        tune(sweep)
    before = folder.store.stat("trials/t000/metrics.jsonl").etag
    assert tune(sweep, resume=True).summary()["trials"] == book.summary()["trials"]
    assert folder.store.stat("trials/t000/metrics.jsonl").etag == before
    other = make_sweep(space={"optimizer.lr": {"grid": [1, 2]}}, budget={"trials": 2})
    with pytest.raises(ConfigError, match="holds a sweep with another 'scheduler'"):
        tune(other, resume=True)


def test_trials_that_fail_say_why_and_the_sweep_goes_on(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(
        space={
            "model": {
                "grid": {
                    "nan": {"explode_at": 3},
                    "good": {"explode_at": -1},
                    "hungry": {"hungry_at": 5},
                    "better": {"slow_s": 0.01},
                }
            }
        },
    )
    book = tune(sweep)
    trials = {trial.values["model"]: trial for trial in book.trials()}
    assert {name: trial.state for name, trial in trials.items()} == {
        "nan": "failed", "good": "done", "hungry": "failed", "better": "done",
    }  # fmt: skip
    assert "no longer a finite number at step 4" in trials["nan"].reason
    assert "out of memory" in trials["hungry"].reason
    assert book.best().values["model"] in ("good", "better")  # type: ignore[union-attr]
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_sweep_of_nothing_but_failures_ends_early(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(model={"explode_at": 0}, budget={"trials": 40})
    with pytest.raises(
        TrainingError, match=r"no trial of .* has a val_loss; the first to fail: .*"
    ):
        tune(sweep)
    states = [trial.state for trial in SweepFolder(sweep.url).trials()]
    assert 3 <= states.count("failed") < 12
    assert_nothing_is_left()


@pytest.mark.slow
def test_the_median_rule_stops_the_worse_and_pauses_nobody(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(
        space={"optimizer.lr": {"grid": [0.1, 0.05, 0.03, 1e-6, 1e-7]}},
        scheduler={"kind": "median", "grace_steps": 4, "min_trials": 3},
        budget={"trials": 5},
        concurrent=1,
    )
    book = tune(sweep)
    assert [trial.state for trial in book.trials()] == ["done"] * 3 + ["stopped"] * 2
    for trial in book.trials():
        lines = list(SweepFolder(sweep.url).run(trial.name).metrics())
        assert max(line.get("starts", 0) for line in lines) == 1
        assert trial.step in (4, 12)
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_sweep_in_an_object_store_resumes_there(make_sweep: MakeSweep, s3_server: Any) -> None:
    sweep = make_sweep(
        run=f"{s3_server.make_bucket('sweeps')}/rates",
        storage={"endpoint_url": s3_server.endpoint},
        scheduler={"kind": "pbt", "interval_steps": 4, "resample": 0.0},
        budget={"trials": 2},
        final={"top": 1, "clips": 4},
    )
    book = tune(sweep)
    assert book.counts()["done"] == 2
    assert book.exploits
    folder = SweepFolder(sweep.url, sweep.config.storage)
    names = {stat.key for stat in folder.store.list()}
    assert {"best.yaml", "sweep.html", "results.parquet", "sweep.json"} <= names
    for trial in folder.trials():
        assert folder.run(trial.name).checkpoint_steps()[-1] == 12
    before = {stat.key: stat.etag for stat in folder.store.list("trials/")}
    assert tune(sweep, resume=True).counts()["done"] == 2
    assert {stat.key: stat.etag for stat in folder.store.list("trials/")} == before
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_used_up_budget_ends_a_sweep_that_a_larger_one_goes_on_with(
    make_sweep: MakeSweep,
) -> None:
    keys: dict[str, Any] = {"model": {"slow_s": 0.3}, "train": {"steps": 60}}
    # More than any start takes, less than the steps of one trial and a half.
    book = tune(make_sweep(budget={"trials": 3, "gpu_hours": 25 / 3600}, **keys))
    assert book.counts()["done"] < 3
    assert book.best() is not None
    assert Path(make_sweep(**keys).url, "best.yaml").exists()
    saved = {t.name: steps_of(SweepFolder(make_sweep(**keys).url), t.name) for t in book.trials()}
    again = tune(make_sweep(budget={"trials": 3}, **keys), resume=True)
    assert again.counts()["done"] == 3
    for trial in again.trials():
        steps = steps_of(SweepFolder(make_sweep(**keys).url), trial.name)
        assert steps == list(range(2, 61, 2))
        assert steps[: len(saved[trial.name])] == saved[trial.name]


@pytest.mark.slow
def test_optuna_learns_from_trials_and_conditions_hold(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(
        search={"kind": "optuna", "startup": 2},
        space={
            "optimizer.name": {"choice": ["adamw", "sgd"]},
            "optimizer.lr": {"loguniform": [1e-4, 1e-1]},
            "optimizer.momentum": {"uniform": [0.5, 0.9], "when": {"optimizer.name": "sgd"}},
        },
        budget={"trials": 6},
        train={"steps": 4},
    )
    book = tune(sweep)
    assert [trial.state for trial in book.trials()] == ["done"] * 6
    for trial in book.trials():
        sgd = trial.values["optimizer.name"] == "sgd"
        assert ("optimizer.momentum" in trial.values) == sgd
    config = sweep.config.model_copy(update={"budget": BudgetConfig(trials=7)})
    assert len(tune(dataclasses.replace(sweep, config=config), resume=True).trials()) == 7
    assert_nothing_is_left()


@pytest.mark.slow
def test_a_stopped_trials_workers_make_room_for_the_next(make_sweep: MakeSweep) -> None:
    """Workers that take all four CPUs: leaked ones would block the rest."""
    sweep = make_sweep(
        space={"optimizer.lr": {"grid": [0.03, 1e-6, 0.1]}},
        scheduler={"kind": "asha", "grace_steps": 2, "reduction": 2},
        model={"slow_s": 0.1},
        trial={"workers": 2, "cpus_per_worker": 2},
        budget={"trials": 3},
        concurrent=1,
    )
    book = tune(sweep)
    assert [trial.state for trial in book.trials()] == ["done", "stopped", "done"]
    assert_nothing_is_left()
