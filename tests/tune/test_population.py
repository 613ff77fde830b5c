"""Population-based training that really exploits: weights, steps and mutated values carry over."""

from __future__ import annotations

import pytest
from safetensors.torch import load
from tune.conftest import MakeSweep
from tune.test_tune import assert_nothing_is_left

from vidgen.storage.run_folder import EXPORT
from vidgen.tune.folder import SweepFolder, read_exploits
from vidgen.tune.tune import tune

pytestmark = [pytest.mark.usefixtures("local_ray"), pytest.mark.xdist_group("tune")]


def test_the_worst_go_on_from_the_best_with_values_of_their_own(make_sweep: MakeSweep) -> None:
    sweep = make_sweep(
        space={
            "optimizer.lr": {"grid": [0.1, 0.05, 1e-6, 1e-7]},
            "optimizer.weight_decay": {"uniform": [0.0, 0.2]},
        },
        scheduler={"kind": "pbt", "interval_steps": 4, "quantile": 0.25, "resample": 0.0},
    )
    book = tune(sweep)
    folder = SweepFolder(sweep.url)
    assert [trial.state for trial in book.trials()] == ["done"] * 4
    assert book.exploits >= 2
    exploited = [trial for trial in book.trials() if trial.exploits]
    for trial in exploited:
        run = folder.run(trial.name)
        notes = read_exploits(run)
        assert len(notes) == trial.exploits
        for note in notes:
            # The step goes on from the donor's, and lines of steps done otherwise are gone.
            assert note["step"] in (4, 8)
            assert note["before"] != note["after"]
            # weight_decay is moved from the donor's value, not from the trial's own
            before, after = (note[key]["optimizer.weight_decay"] for key in ("before", "after"))
            moved = [before * 0.8, min(0.2, before * 1.25)]
            assert any(after == pytest.approx(each, rel=1e-2) for each in moved)
        # What it trained with afterwards is what the exploit gave it.
        config = run.config()
        assert config.optimizer.weight_decay == notes[-1]["after"]["optimizer.weight_decay"]
        assert (
            config.optimizer.lr
            == notes[-1]["after"]["optimizer.lr"]
            == trial.values["optimizer.lr"]
        )
        steps = [line["step"] for line in run.metrics() if "loss" in line]
        assert steps == sorted(set(steps))
        assert steps[-1] == 12
    # The weights were the donor's: a trial that learned nothing itself is as good as the donor
    # was, and far better than it was before.
    worst = next(t for t in exploited if t.name in ("t002", "t003"))
    note = read_exploits(folder.run(worst.name))[0]
    scores = {
        line["step"]: line["val_loss"]
        for line in folder.run(worst.name).metrics()
        if "val_loss" in line
    }
    donors = {
        line["step"]: line["val_loss"]
        for line in folder.run(note["from"]).metrics()
        if "val_loss" in line
    }
    at = note["step"]
    assert scores[at] > 1.05 * donors[at]  # measured before the exploit
    assert scores[12] < scores[at]
    assert load(folder.run(worst.name).store.read(EXPORT))
    assert_nothing_is_left()


@pytest.mark.slow
@pytest.mark.parametrize("together", [True, False], ids=["together", "each for itself"])
def test_a_member_that_fails_keeps_nobody_waiting(make_sweep: MakeSweep, together: bool) -> None:
    """It fails between two looks, when all others wait for it at the second."""
    sweep = make_sweep(
        space={
            "optimizer.lr": {"grid": [0.1, 0.05, 0.01, 0.001]},
            "model.explode_at": {"grid": [-1]},
        },
        scheduler={"kind": "pbt", "interval_steps": 4, "together": together},
    )
    points = sweep.points
    assert points is not None
    points[1]["model.explode_at"] = 5
    book = tune(sweep)
    states = {trial.name: trial.state for trial in book.trials()}
    assert states == {"t000": "done", "t001": "failed", "t002": "done", "t003": "done"}
    assert_nothing_is_left()
