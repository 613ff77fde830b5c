"""The synthetic data set of a run is made once, whoever asks, and survives a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from moving import run_config

from vidgen.config.data import DataConfig, SyntheticConfig
from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.errors import DataError, StorageError
from vidgen.storage.cache_folder import cache_folder

PROGRAM = """
import sys
from vidgen.config.base import FamilyConfig
from vidgen.config.data import DataConfig, SyntheticConfig
from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
if __name__ == "__main__":
    config = RunConfig(name="x", model=FamilyConfig(family="flow"),
                       data=DataConfig(synthetic=SyntheticConfig(clips=24)))
    made = []
    dataset = ensure_dataset(config, tell=lambda what, done, total: made.append(done))
    print(bool(made), dataset.table.num_rows)
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("VIDGEN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def synthetic(clips: int, seed: int = 0) -> RunConfig:
    data = DataConfig(synthetic=SyntheticConfig(clips=clips, seed=seed))
    return run_config().model_copy(update={"data": data})


def test_made_once_by_the_first_of_many(cache: Path, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(tmp_path / "program.py")]
    killed = subprocess.Popen(command)
    while not list(cache.glob(".making-*/raw/*.mp4")):
        assert killed.poll() is None
        time.sleep(0.02)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = sorted(run.communicate()[0] for run in runs)
    assert answers == ["False 24\n", "True 24\n"]
    assert [path.name[:10] for path in cache.iterdir() if path.is_dir()] == ["synthetic-"]


def test_what_a_run_gets(cache: Path) -> None:
    dataset = ensure_dataset(synthetic(20))
    captions = {name: {row.caption for row in dataset.split(name)} for name in dataset.splits}
    assert sum(map(len, captions.values())) == 20
    assert not captions["train"] & captions["test"]
    assert dataset.labels == tuple(sorted(dataset.labels))
    assert dataset.split("train")[0].more().keys() >= {"colour", "direction", "shape"}
    calls: list[int] = []
    again = ensure_dataset(synthetic(20), tell=lambda what, done, total: calls.append(done))
    assert (again.store.url, calls) == (dataset.store.url, [])
    assert ensure_dataset(synthetic(4, seed=1)).store.url != dataset.store.url


def test_a_url_goes_first(prepared: Path, tmp_path: Path) -> None:
    assert ensure_dataset(run_config(str(prepared))).store.url == str(prepared)
    with pytest.raises(DataError, match="holds no prepared data set"):
        ensure_dataset(run_config(str(tmp_path)))


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("VIDGEN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert cache_folder() == Path("/x/vidgen")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert cache_folder() == Path("/home/me/.cache/vidgen")


def test_a_cache_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("VIDGEN_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(StorageError, match="Set VIDGEN_CACHE"):
        ensure_dataset(synthetic(4))
