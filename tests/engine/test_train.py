"""Runs in this process: what a run folder holds, and that going on equals never having stopped."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine.conftest import MakeConfig
from safetensors.torch import load_file

from vidgen.config.load import dump, parse_run
from vidgen.data.video import decode
from vidgen.engine.load import load_model
from vidgen.engine.train import train
from vidgen.errors import ConfigError, DataError, NotFoundInStore, TrainingError
from vidgen.storage.run_folder import RunFolder

TIMES = {
    "time", "step_s", "data_wait_s", "forward_backward_s", "optimizer_s", "clips_per_s",
    "frames_per_s", "flops_per_s", "mfu", "validate_s", "sample_s", "checkpoint_s",
    "lag_s", "lag_rank", "forward_s", "ready_batches", "load_s", "read_s", "decode_s", "read_bytes",
    "save_s", "save_bytes", "starts",
}  # fmt: skip


def curve(url: str) -> list[dict[str, float]]:
    """metrics.jsonl without what depends on the clock."""
    lines = RunFolder(url).metrics()
    found = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
    return [line for line in found if line.keys() > {"step"}]


def weights(url: str) -> dict[str, torch.Tensor]:
    return load_file(Path(url) / "model.safetensors")


def test_a_run_leaves_everything_it_promises(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = RunFolder(train(make_config()))
    config = folder.config()
    assert config.data.labels == ("dark", "light")
    assert config.versions["torch"] == torch.__version__
    assert folder.checkpoint_steps() == [4, 8]
    lines = list(folder.metrics())
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 9))
    assert [line["step"] for line in lines if "val_loss" in line] == [4, 8]
    assert lines[0].keys() >= {"time", "loss", "loss_error", "critic_loss", "lr", "grad_norm"}
    assert lines[0].keys() >= {"clips_per_s", "data_wait_s", "step_s"}
    asked = folder.read_json("samples/step_00000008.json")
    assert [set(video) for video in asked["videos"]] == [{"label", "clip"}] * 3
    video = decode(Path(folder.url) / "samples" / "step_00000004.mp4", fps=8)
    assert video.shape == (4, 258, 258, 3)  # two by two, enlarged for the eye
    shown = capsys.readouterr().out
    assert f"vidgen generate {folder.url}" in shown
    assert "step 8/8" in shown


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd", "rmsprop"])
def test_stopping_and_going_on_changes_no_bit(
    make_config: MakeConfig, tmp_path: Path, optimizer: str
) -> None:
    keys = {"optimizer": {"lr": 0.01, "name": optimizer}}
    whole = train(make_config(**keys, run=str(tmp_path / "whole")))
    # With all 8 steps' schedule, but killed after 4: only the checkpoint of step 4 is left.
    first = train(make_config(**keys, run=str(tmp_path / "parts")))
    folder = RunFolder(first)
    for stat in [*folder.store.list("checkpoints/step_00000008"), *folder.store.list("model.")]:
        folder.store.delete(stat.key)
    before = weights(whole)
    train(folder.config(), resume=first)
    assert curve(first) == curve(whole)
    after = weights(first)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_longer_run_goes_on_from_where_it_was(make_config: MakeConfig) -> None:
    url = train(make_config(schedule={"kind": "constant"}))
    longer = (
        RunFolder(url).config().model_copy(update={"train": make_config(train={"steps": 10}).train})
    )
    train(longer, resume=url)
    assert RunFolder(url).checkpoint_steps() == [8, 10]
    assert [line["step"] for line in curve(url) if "loss" in line] == list(range(1, 11))
    assert RunFolder(url).config().train.steps == 10


def test_accumulating_changes_nothing_but_memory(make_config: MakeConfig, tmp_path: Path) -> None:
    whole = train(make_config(run=str(tmp_path / "1")))
    parts = train(make_config(run=str(tmp_path / "2"), train={"accumulate": 4}))
    for a, b in zip(curve(whole), curve(parts), strict=True):
        assert a == pytest.approx(b, rel=1e-3)


def test_a_finished_run_says_so(
    make_config: MakeConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    url = train(make_config())
    before = curve(url)
    train(RunFolder(url).config(), resume=url)
    assert "nothing left to do" in capsys.readouterr().out
    assert curve(url) == before


def test_the_averaged_weights_load_from_export_and_checkpoint_alike(
    make_config: MakeConfig,
) -> None:
    url = train(make_config())
    exported, config = load_model(url)
    saved, _ = load_model(url, step=8)
    earlier, _ = load_model(url, step=4)
    assert config.run == url
    assert not exported.training
    for name, value in exported.state_dict().items():
        assert torch.equal(value, saved.state_dict()[name])
    assert not torch.equal(exported.body.weight, earlier.body.weight)  # type: ignore[union-attr]


def test_a_run_with_another_config_is_refused(make_config: MakeConfig) -> None:
    url = train(make_config())
    with pytest.raises(ConfigError, match=r"optimizer\.lr=0\.01.*0\.02"):
        train(make_config(optimizer={"lr": 0.02}))
    with pytest.raises(NotFoundInStore, match="not a run folder"):
        train(make_config(), resume=f"{url}-elsewhere")
    train(make_config(train={"log_every": 2}))  # changes no step, and there is nothing left to do


def test_a_config_survives_its_run_folder(make_config: MakeConfig) -> None:
    folder = RunFolder(train(make_config()))
    assert parse_run(dump(folder.config()), "again") == folder.config()


def test_a_loss_that_is_no_number_stops_and_names_the_step(make_config: MakeConfig) -> None:
    config = make_config(
        model={"explode_at": 5}, train={"steps": 40, "log_every": 10, "checkpoint_every": 2}
    )
    with pytest.raises(TrainingError, match="step 6"):
        train(config)
    assert RunFolder(str(config.run)).checkpoint_steps() == [2, 4]


@pytest.mark.parametrize(
    ("keys", "error", "words"),
    [
        ({"data": {"url": "/nowhere"}}, DataError, "/nowhere holds no prepared data set"),
        ({"data": {"frames": 40}}, DataError, "40 frames"),
        ({"train": {"precision": "fp16"}}, ConfigError, "fp16 needs a GPU"),
    ],
)
def test_bad_input_fails_before_the_first_step(
    make_config: MakeConfig, keys: dict[str, dict[str, object]], error: type, words: str
) -> None:
    with pytest.raises(error, match=words):
        train(make_config(**keys))
