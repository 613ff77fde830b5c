"""Early stopping: when, on which weights, and the same after an interruption."""

from __future__ import annotations

from typing import Any

import pytest
from engine.conftest import MakeConfig
from engine.test_train import curve

from vidgen.config.run import EarlyStopConfig, RunConfig
from vidgen.engine import loop
from vidgen.engine.early_stop import Progress
from vidgen.engine.load import load_model
from vidgen.engine.train import train
from vidgen.engine.weights import weights_step
from vidgen.errors import ConfigError, Interrupted
from vidgen.storage.run_folder import RunFolder


def scores(*values: float, **keys: object) -> Progress:
    config = EarlyStopConfig.model_validate({"patience": 2, **keys})
    return Progress(config, [{"step": n, "val_loss": v} for n, v in enumerate(values, start=1)])


@pytest.mark.parametrize(
    ("values", "keys", "best", "ended"),
    [
        ((3, 2, 1), {}, 3, False),
        ((3, 2, 2, 2), {}, 2, True),
        ((3, 2, 4, 1, 4), {}, 4, False),
        ((3, 2.9, 2.8), {"min_gain": 0.5}, 1, True),
        ((1, 2, 1.5, 1.7), {"mode": "max"}, 2, True),
        ((3, 4, 5, 6), {"patience": 0}, 1, False),
    ],
)
def test_patience_counts_validations_without_a_gain(
    values: tuple[float, ...], keys: dict[str, object], best: int, ended: bool
) -> None:
    progress = scores(*values, **keys)
    assert progress.best == best
    assert (progress.ended() is not None) == ended


def test_a_score_that_does_not_exist_is_named() -> None:
    with pytest.raises(ConfigError, match=r"'val_los' is no validation score.*'val_loss'"):
        scores(metric="val_los").see(1, {"val_loss": 1.0, "val_loss_error": 1.0})


def worsening(make_config: MakeConfig, **train: object) -> RunConfig:
    """A run whose validation gets worse from some step on: its learning rate is far too large."""
    return make_config(
        optimizer={"lr": 0.2, "weight_decay": 0},
        schedule={"kind": "constant", "warmup_steps": 12},
        early_stop={"patience": 3},
        train={
            "steps": 100, "validate_every": 2, "sample_every": 0, "checkpoint_every": 5,
            "keep_checkpoints": 1, **train,
        },
    )  # fmt: skip


def test_a_run_ends_early_with_its_best_weights(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    config = worsening(make_config)
    folder = RunFolder(train(config))
    lines = [line for line in folder.metrics() if "val_loss" in line]
    best = min(lines, key=lambda line: (line["val_loss"], line["step"]))["step"]
    last = lines[-1]["step"]
    assert last == best + 6 < 100
    assert folder.checkpoint_steps() == [best, last]
    assert weights_step(folder) == best
    exported, _ = load_model(folder.url)
    saved, _ = load_model(folder.url, step=best)
    for name, value in saved.state_dict().items():
        assert value.equal(exported.state_dict()[name])
    shown = capsys.readouterr().out
    assert f"stopped early: val_loss has not got better than {lines[-4]['val_loss']:.4g}" in shown
    assert f"done: {last} steps" in shown

    before = curve(folder.url)
    train(folder.config(), resume=folder.url)  # nothing left to do
    assert curve(folder.url) == before
    for stat in folder.store.list("model."):  # killed before the export
        folder.store.delete(stat.key)
    train(folder.config(), resume=folder.url)
    assert curve(folder.url) == before
    assert weights_step(folder) == best


def test_a_resumed_run_decides_alike(make_config: MakeConfig, tmp_path: object) -> None:
    whole = train(worsening(make_config))
    steps = RunFolder(whole).checkpoint_steps()[-1]
    config = worsening(make_config).model_copy(update={"run": f"{tmp_path}/parts"})
    cut = steps - 4  # where a validation is due anyway
    first = config.model_copy(update={"train": config.train.model_copy(update={"steps": cut})})
    folder = RunFolder(train(first))
    train(config, resume=folder.url)
    assert folder.checkpoint_steps()[-1] == steps
    assert weights_step(folder) == weights_step(RunFolder(whole))


def test_the_best_checkpoints_are_kept_beside_the_newest(make_config: MakeConfig) -> None:
    config = worsening(make_config, steps=30, keep_best=2, checkpoint_every=10)
    free = config.model_copy(update={"early_stop": EarlyStopConfig()})
    folder = RunFolder(train(free))
    lines = [line for line in folder.metrics() if "val_loss" in line]
    ranked = sorted(lines, key=lambda line: (line["val_loss"], line["step"]))
    saved = folder.checkpoint_steps()
    assert 30 in saved
    assert ranked[0]["step"] in saved
    assert len(saved) <= 3


def test_patience_without_validation_is_refused(make_config: MakeConfig) -> None:
    with pytest.raises(ValueError, match=r"early_stop\.patience needs train\.validate_every"):
        make_config(early_stop={"patience": 1}, train={"validate_every": 0})


def test_a_stop_between_a_step_and_its_validation_leaves_none_out(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_config(train={"steps": 6, "validate_every": 2, "sample_every": 0})
    after = loop._Run.after

    def stopped_at_4(self: Any, wishes: set[str], *, last: bool) -> bool:
        return after(self, wishes | ({"stop"} if self.state.step == 4 else set()), last=last)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "after", stopped_at_4)
        with pytest.raises(Interrupted):
            train(config)
    folder = RunFolder(str(config.run))
    assert [row["step"] for row in folder.metrics() if "val_loss" in row] == [2]
    train(config)
    assert [row["step"] for row in folder.metrics() if "val_loss" in row] == [2, 4, 6]
