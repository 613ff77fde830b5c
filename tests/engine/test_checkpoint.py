"""Checkpoints on bad days: half written, cut short, altered, a full disk, an object store."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.test_train import curve, weights
from engine.trouble import small_disk_at

from vidgen.engine.load import load_model
from vidgen.engine.train import train
from vidgen.errors import CheckpointError, StorageError
from vidgen.storage.run_folder import RunFolder


@pytest.fixture
def run(make_config: MakeConfig) -> Path:
    """A run with checkpoints of steps 4 and 8 and no export, as if killed right after saving."""
    folder = Path(train(make_config()))
    (folder / "model.safetensors").unlink()
    return folder


def newest(run: Path) -> Path:
    return run / "checkpoints" / "step_00000008"


def test_a_half_written_checkpoint_is_never_read(run: Path) -> None:
    (newest(run) / "COMMITTED").unlink()
    folder = RunFolder(str(run))
    assert folder.checkpoint_steps() == [4]
    expected = curve(str(run))
    train(folder.config(), resume=str(run))
    assert folder.checkpoint_steps() == [4, 8]
    assert curve(str(run)) == expected


def test_without_any_marker_there_is_nothing_to_load(run: Path) -> None:
    for marker in run.glob("checkpoints/*/COMMITTED"):
        marker.unlink()
    with pytest.raises(CheckpointError, match="no committed checkpoint"):
        load_model(str(run))


def test_going_on_from_half_written_checkpoints_alone_says_so(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for marker in run.glob("checkpoints/*/COMMITTED"):
        marker.unlink()
    expected = curve(str(run))
    train(RunFolder(str(run)).config(), resume=str(run))
    assert "so none is read: step_00000004, step_00000008" in capsys.readouterr().out
    assert curve(str(run)) == expected


def cut(shard: Path) -> None:
    shard.write_bytes(shard.read_bytes()[:-100])


def alter(shard: Path) -> None:
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("damage", "file", "words"),
    [
        (cut, "__0_0.distcp", "__0_0.distcp has"),
        (alter, "__0_0.distcp", "the content of"),
        (Path.unlink, "__0_0.distcp", "__0_0.distcp is missing"),
        (alter, ".metadata", "the content of"),
        (cut, "COMMITTED", "cannot read"),
    ],
)
def test_damage_is_named_and_the_checkpoint_before_is_used(
    run: Path, capsys: pytest.CaptureFixture[str], damage: object, file: str, words: str
) -> None:
    before = curve(str(run))
    damage(newest(run) / file)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=words):
        load_model(str(run), step=8)
    capsys.readouterr()
    train(RunFolder(str(run)).config(), resume=str(run))
    shown = capsys.readouterr().out
    assert words in shown
    assert "using the checkpoint of step 4 instead" in shown
    assert curve(str(run)) == before
    load_model(str(run), step=8)  # written anew


def test_when_all_are_damaged_the_run_is_left_alone(run: Path) -> None:
    for shard in run.glob("checkpoints/*/__0_0.distcp"):
        cut(shard)
    with pytest.raises(CheckpointError, match="damaged checkpoint"):
        train(RunFolder(str(run)).config(), resume=str(run))
    assert RunFolder(str(run)).checkpoint_steps() == [4, 8]


def test_metadata_of_a_stranger_runs_no_code(run: Path, tmp_path: Path) -> None:
    import hashlib
    import json
    import pickle

    class Evil:
        def __reduce__(self) -> object:
            return os.mkdir, (str(tmp_path / "owned"),)

    data = pickle.dumps(Evil())
    (newest(run) / ".metadata").write_bytes(data)
    marker = json.loads((newest(run) / "COMMITTED").read_text())
    marker["files"][".metadata"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (newest(run) / "COMMITTED").write_text(json.dumps(marker))
    with pytest.raises(CheckpointError, match=r"posix\.mkdir"):
        load_model(str(run), step=8)
    assert not (tmp_path / "owned").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for two checkpoints of the tests' model."""
    with small_disk_at(tmp_path / "disk", "500k") as folder:
        yield folder


def test_a_full_disk_loses_nothing(
    make_config: MakeConfig, small_disk: Path, tmp_path: Path
) -> None:
    keys = {"train": {"checkpoint_every": 1, "keep_checkpoints": 10, "sample_every": 0}}
    whole = train(make_config(**keys, run=str(tmp_path / "whole")))
    config = make_config(**keys, run=str(small_disk / "run"))
    with pytest.raises(StorageError, match=r"disk full while writing .*step_0000000"):
        train(config)
    folder = RunFolder(str(config.run))
    saved = folder.checkpoint_steps()
    assert saved in ([1, 2], [1, 2, 3])  # as many as fit
    left = {stat.key.split("/")[1] for stat in folder.store.list("checkpoints/")}
    assert left == {f"step_{step:08d}" for step in saved}
    subprocess.run(["mount", "-o", "remount,size=20m", str(small_disk)], check=True)
    train(config)
    assert curve(folder.url) == curve(whole)


def test_a_run_lives_in_an_object_store(
    make_config: MakeConfig, s3_bucket: str, tmp_path: Path
) -> None:
    local = train(make_config(run=str(tmp_path / "local")))
    url = train(make_config(run=f"{s3_bucket}/runs/one"))
    folder = RunFolder(url)
    assert folder.checkpoint_steps() == [4, 8]
    assert curve(url) == curve(local)
    for stat in [*folder.store.list("checkpoints/step_00000008"), *folder.store.list("model.")]:
        folder.store.delete(stat.key)
    train(folder.config(), resume=url)
    assert curve(url) == curve(local)
    model, _ = load_model(url)
    expected = weights(local)
    assert all(value.equal(expected[name]) for name, value in model.state_dict().items())
    with pytest.raises(StorageError, match="no-such-bucket"):
        train(make_config(run="s3://no-such-bucket/run"))
