"""Saving beside training: nobody waits, and a store that fails for a while loses nothing."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from engine.conftest import MakeConfig
from engine.ranks import on_ranks
from engine.test_train import curve, weights

from vidgen.engine import persist
from vidgen.engine import saver as module
from vidgen.engine.checkpoint import load_checkpoint
from vidgen.engine.distributed import Ranks, join_ranks
from vidgen.engine.saver import Saver
from vidgen.engine.train import train
from vidgen.errors import AccessDenied, StorageError, StorageFull
from vidgen.storage.local import LocalStore
from vidgen.storage.run_folder import RunFolder

Write = Callable[[LocalStore, str, object], None]
plain_write: Write = LocalStore.write


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AGAIN_S", 0.0)
    monkeypatch.setattr(persist, "PAUSE_S", 0.05)


def spoil(monkeypatch: pytest.MonkeyPatch, act: Callable[[str], None]) -> None:
    """Call `act` with the url of every shard before it is written."""

    def write(store: LocalStore, key: str, data: object) -> None:
        if key.endswith(".distcp"):
            act(store.url)
        plain_write(store, key, data)

    monkeypatch.setattr(LocalStore, "write", write)


def saver(folder: Path, said: list[str], patience_s: float = 60) -> Saver:
    return Saver(
        RunFolder(str(folder)), Ranks(), keep=9, patience_s=patience_s, say=said.append,
        before_commit=lambda: said.append("committing"),
    )  # fmt: skip


def test_a_save_keeps_the_state_of_its_step_while_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    spoil(monkeypatch, lambda url: go.wait(10) or None)
    tree = {"weight": torch.ones(4)}
    writer, said = saver(tmp_path, []), []
    assert writer.start(tree, 1) is None
    tree["weight"].fill_(2.0)  # the next step
    assert not writer.ended()
    assert RunFolder(str(tmp_path)).checkpoint_steps() == []
    go.set()
    assert writer.start(tree, 2) == 1  # waits for the first
    assert writer.settle() == 2
    for step, expected in ((1, 1.0), (2, 2.0)):
        found = {"weight": torch.zeros(4)}
        folder = RunFolder(str(tmp_path))
        load_checkpoint(folder, lambda found=found: found, Ranks(), say=said.append, step=step)
        assert found["weight"].tolist() == [expected] * 4


def test_training_gets_the_interpreter_soon_while_a_save_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []
    spoil(monkeypatch, lambda url: seen.append(sys.getswitchinterval()))
    before = sys.getswitchinterval()
    saver(tmp_path, []).save({"weight": torch.ones(1)}, 1)
    assert seen[0] < before / 5
    assert sys.getswitchinterval() == before


def test_metrics_are_safe_before_the_marker(tmp_path: Path) -> None:
    said: list[str] = []
    writer = saver(tmp_path, said)

    def commit() -> None:
        said.append(str(RunFolder(str(tmp_path)).checkpoint_steps()))

    writer._before_commit = commit
    writer.save({"weight": torch.ones(1)}, 1)
    assert said == ["[]"]


def test_a_store_that_fails_for_a_while_costs_a_checkpoint_and_no_training(
    make_config: MakeConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = {"train": {"steps": 8, "checkpoint_every": 3, "sample_every": 0}}
    whole = train(make_config(**keys, run=str(tmp_path / "whole")))

    def fail(url: str) -> None:
        if "step_00000003" in url or "step_00000005" in url:
            raise StorageError("the store is away")

    spoil(monkeypatch, fail)
    config = make_config(**keys, model={"slow_s": 0.1}, run=str(tmp_path / "parts"))
    folder = RunFolder(train(config))
    shown = capsys.readouterr().out
    assert "step 3 could not be saved: the store is away; training goes on" in shown
    assert "step 5 could not be saved" in shown  # tried again soon
    assert curve(folder.url) == curve(whole)
    for name, value in weights(folder.url).items():
        assert value.equal(weights(whole)[name])


def test_patience_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(url: str) -> None:
        raise StorageError("the store is away")

    spoil(monkeypatch, fail)
    said: list[str] = []
    writer = saver(tmp_path, said, patience_s=0.2)
    writer.start({"weight": torch.ones(1)}, 1)
    assert writer.settle() is None
    assert writer.owed()
    time.sleep(0.3)
    writer.start({"weight": torch.ones(1)}, 2)
    with pytest.raises(StorageError, match="away"):
        writer.settle()
    assert len(said) == 1


@pytest.mark.parametrize("error", [StorageFull, AccessDenied])
def test_what_waiting_cannot_mend_ends_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[StorageError]
) -> None:
    def fail(url: str) -> None:
        raise error("no")

    spoil(monkeypatch, fail)
    writer = saver(tmp_path, [])
    writer.start({"weight": torch.ones(1)}, 1)
    with pytest.raises(error):
        writer.settle()


def test_the_last_save_is_tried_until_it_is_done(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    left = [3]

    def fail(url: str) -> None:
        if left[0]:
            left[0] -= 1
            raise StorageError("the store is away")

    spoil(monkeypatch, fail)
    folder = RunFolder(train(make_config(train={"checkpoint_every": 0})))
    assert folder.checkpoint_steps() == [8]
    assert capsys.readouterr().out.count("step 8 could not be saved: the store is away") == 3


def save_where_rank_one_cannot(folder: str) -> list[str]:
    """What a rank hears of saves that rank 1 fails to write, and then does write."""
    said: list[str] = []
    with join_ranks() as ranks, pytest.MonkeyPatch.context() as patch:
        run = RunFolder(folder)
        writer = Saver(
            run, ranks, keep=9, patience_s=60, say=said.append, before_commit=lambda: None
        )
        if ranks.rank == 1:
            spoil(patch, lambda url: _away())
        tree = {"mine": torch.ones(4), "ours": torch.ones(4)}
        writer.start(tree, 1)
        said.append(f"{writer.settle()}")
        patch.undo()
        writer.start(tree, 2)
        said.append(f"{writer.settle()} {run.checkpoint_steps()}")
    return said


def _away() -> None:
    raise StorageError("away from rank 1")


def test_ranks_agree_on_a_save_that_one_of_them_could_not_write(tmp_path: Path) -> None:
    lead, other = on_ranks(2, save_where_rank_one_cannot, str(tmp_path))
    assert lead == [
        "step 1 could not be saved: away from rank 1; training goes on",
        "None",
        "2 [2]",
    ]
    assert other == ["None", "2 [2]"]


def test_the_layout_is_made_anew_when_the_tree_changes(tmp_path: Path) -> None:
    writer, folder = saver(tmp_path, []), RunFolder(str(tmp_path))
    first = {"a": torch.ones(4), "none": {}}
    second = {"a": torch.full((4,), 2.0), "none": {}}
    grown = {"a": torch.full((2, 3), 3.0), "b": {"c": torch.arange(5)}, "none": {}}
    for step, tree in enumerate((first, second, grown), start=1):
        writer.save(tree, step)
    for step, expected in ((1, first), (2, second), (3, grown)):
        found = {
            key: {k: torch.zeros_like(v) for k, v in value.items()}
            if isinstance(value, dict)
            else torch.zeros_like(value)
            for key, value in expected.items()
        }
        load_checkpoint(folder, lambda found=found: found, Ranks(), say=print, step=step)
        assert str(found) == str(expected)


def test_planning_is_done_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, tree = saver(tmp_path, []), {"a": torch.ones(4)}
    writer.save(tree, 1)
    monkeypatch.setattr("vidgen.engine.layout.DefaultSavePlanner", None)
    writer.save({"a": torch.zeros(4)}, 2)
    assert RunFolder(str(tmp_path)).checkpoint_steps() == [1, 2]
