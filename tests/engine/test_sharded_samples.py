"""Samples and validation: every rank does its share, and none waits for what is only written."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from engine.conftest import MakeConfig
from engine.ranks import on_ranks

from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.engine import persist
from vidgen.engine.distributed import join_ranks
from vidgen.engine.persist import Errands, persistently
from vidgen.engine.samples import write_samples
from vidgen.engine.state import State
from vidgen.engine.train import train
from vidgen.engine.validate import validate
from vidgen.errors import StorageError, StorageFull
from vidgen.storage.run_folder import RunFolder


def shares(config: RunConfig, run: str) -> tuple[int, float]:
    """How many videos this rank generates, and the validation loss it finds."""
    config = RunFolder(run).config().model_copy(update={"run": config.run})
    dataset = ensure_dataset(config)
    folder = RunFolder(str(config.run))
    with join_ranks() as ranks:
        state = State(config, ranks.device, ranks)
        made: list[int] = []
        sample = state.objective.model.sample

        def count(cond: object, n: int, **keys: object) -> object:
            made.append(n)
            return sample(cond, n, **keys)  # type: ignore[arg-type]

        state.objective.model.sample = count  # type: ignore[method-assign, assignment]
        errands = Errands(print)
        write_samples(state, dataset, config, folder, ranks, errands)
        errands.close()
        return sum(made), validate(state, dataset, config, ranks)["val_loss"]


def test_ranks_share_samples_and_validation(make_config: MakeConfig, tmp_path: Path) -> None:
    whole = train(make_config(train={"steps": 1}))
    config = make_config(run=str(tmp_path / "two"))
    (one, loss), (two, same) = on_ranks(2, shares, config, whole)
    assert (one, two) == (2, 1)
    assert loss == same
    asked = RunFolder(str(config.run)).read_json("samples/step_00000000.json")
    alone = RunFolder(whole).read_json("samples/step_00000001.json")
    assert asked["videos"] == alone["videos"]  # the same clips in the same places


def test_an_errand_does_not_keep_anyone_waiting() -> None:
    go, done = threading.Event(), []
    errands = Errands(print)
    errands.do("one", lambda: done.append(go.wait(10)))
    errands.do("two", lambda: done.append(2))
    assert done == []
    go.set()
    errands.close()
    assert done == [True, 2]


def test_an_errand_that_fails_is_told_and_the_next_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(persist, "PAUSE_S", 0.01)
    said: list[str] = []
    tries: list[int] = []

    def away() -> None:
        tries.append(1)
        if len(tries) < 3:
            raise StorageError("away")

    def full() -> None:
        raise StorageFull("disk full")

    errands = Errands(said.append)
    errands.do("samples of step 5", full)
    errands.do("samples of step 6", away)
    errands.close()
    assert said == ["samples of step 5 could not be written: disk full; training goes on"]
    assert len(tries) == 3
    with pytest.raises(StorageFull):
        persistently(full)
    tries.clear()
    with pytest.raises(StorageError, match="away"):
        persistently(away, for_s=0)
