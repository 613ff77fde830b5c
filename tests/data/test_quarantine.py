"""A clip that does not decode costs one clip: set aside, replaced alike everywhere, counted."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from moving import run_config
from storage.faulty_proxy import faulty_proxy

from vidgen.config.run import RunConfig
from vidgen.data import fetch
from vidgen.data.dataset import Dataset, open_dataset
from vidgen.data.fetch import Window
from vidgen.data.loader import Batches, batches, eval_batches
from vidgen.data.reasons import Reason, Rejected
from vidgen.errors import DataError
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store
from vidgen.types import Batch


def take(loader: Batches, count: int) -> list[Batch]:
    with loader:
        return list(islice(loader, count))


@pytest.fixture
def one_bad(prepared: Path, tmp_path: Path) -> tuple[Dataset, str]:
    """The data set with zeros where its first training clip was, and that clip's source."""
    for path in prepared.rglob("*"):
        target = tmp_path / "copy" / path.relative_to(prepared)
        if path.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    row = open_dataset(str(prepared)).split("train")[0]
    pack = tmp_path / "copy" / row.clip
    data = bytearray(pack.read_bytes())
    data[row.offset : row.offset + row.bytes] = bytes(row.bytes)
    pack.write_bytes(data)
    return open_dataset(str(tmp_path / "copy")), row.source


def test_a_run_folder_that_is_away_stops_no_loading(
    one_bad: tuple[Dataset, str], s3_bucket: str
) -> None:
    dataset, _ = one_bad
    there = take(batches(dataset, run_config()), 8)
    with faulty_proxy(os.environ["AWS_ENDPOINT_URL"], lambda n, method, path: "reset") as (
        url,
        log,
    ):
        storage = run_config().storage.model_copy(update={"endpoint_url": url, "attempts": 1})
        config = run_config().model_copy(update={"run": f"{s3_bucket}/run", "storage": storage})
        away = take(batches(dataset, config), 8)
    assert "reset" in log
    for one, other in zip(there, away, strict=True):
        assert torch.equal(one.video, other.video)


def test_it_is_replaced_counted_and_listed(one_bad: tuple[Dataset, str], tmp_path: Path) -> None:
    dataset, source = one_bad
    config = run_config().model_copy(update={"run": str(tmp_path / "run")})
    with batches(dataset, config) as stream:
        seen = [next(stream) for _ in range(8)]
        assert stream.spent()["set_aside"] == 1
    lines = (tmp_path / "run" / "quarantine" / "train_00000.jsonl").read_text().splitlines()
    (line,) = map(json.loads, lines)
    assert (line["source"], line["start_s"], line["reason"]) == (source, 0.0, "corrupt")
    # Ranks, processes, a list made by hand and the next start replace alike.
    halves = [take(batches(dataset, run_config(), rank=r, world=2), 8) for r in range(2)]
    helped = take(batches(dataset, run_config(loader_workers=2)), 8)
    told = take(
        batches(dataset, run_config(skip=str(tmp_path / "run/quarantine/train_00000.jsonl"))), 8
    )
    again = take(batches(dataset, config), 8)
    for n, batch in enumerate(seen):
        both = torch.cat([half[n].video for half in halves])
        for other in (both, helped[n].video, told[n].video, again[n].video):
            assert torch.equal(other, batch.video)


def test_evaluation_replaces_too(one_bad: tuple[Dataset, str]) -> None:
    dataset, source = one_bad
    parts = list(eval_batches(dataset, run_config(), split="train", limit=16, batch_size=4))
    assert source not in {row.source for part in parts for row in part.rows}
    assert sum(len(part.rows) for part in parts) == 16


def test_the_budget(one_bad: tuple[Dataset, str], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, _ = one_bad
    real = fetch.WindowReader.__call__

    def half(self: fetch.WindowReader, window: Window) -> np.ndarray:
        if window.packets % 2:
            raise Rejected(Reason.CORRUPT, f"{window.key} is not to be had")
        return real(self, window)

    monkeypatch.setattr(fetch.WindowReader, "__call__", half)
    with pytest.raises(DataError, match=r"cannot decode 2 of 16 clips.*data.max_bad"):
        take(batches(dataset, run_config()), 8)
    seen = take(batches(dataset, run_config(max_bad=0.9)), 8)
    assert len(seen) == 8


def test_a_list_that_is_none(dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "skip.jsonl").write_text("hello\n")
    with pytest.raises(DataError, match=r"data.skip: .*skip.jsonl is not a list of clips"):
        batches(dataset, run_config(skip=str(tmp_path / "skip.jsonl")))
    with pytest.raises(DataError, match="does not exist"):
        batches(dataset, run_config(skip=str(tmp_path / "none.jsonl")))


class Deadly(fetch.WindowReader):
    """Kills its process at clip 3: always, or once."""

    always = True

    def __call__(self, window: Window, ahead: fetch.Ahead | None = None) -> np.ndarray:
        mark = Path(os.environ["DEADLY_MARK"])
        if window.packets == 3 and (self.always or not mark.exists()):
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(window, ahead)


class DeadlyOnce(Deadly):
    always = False


@pytest.mark.parametrize(("kind", "clips"), [(Deadly, 1), (DeadlyOnce, 0)])
def test_a_decoder_that_dies_costs_a_clip_if_it_dies_again(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: type, clips: int
) -> None:
    from vidgen.data import making

    monkeypatch.setenv("DEADLY_MARK", str(tmp_path / "mark"))
    plain = take(batches(open_dataset(dataset.store), run_config(cache=False)), 4)
    monkeypatch.setattr(making, "WindowReader", kind)
    with batches(open_dataset(dataset.store), run_config(cache=False, loader_workers=1)) as stream:
        seen = [next(stream) for _ in range(4)]
        assert stream.spent()["set_aside"] == clips
    same = [torch.equal(a.video, b.video) for a, b in zip(plain, seen, strict=True)]
    assert all(same) == (clips == 0)


def test_a_store_that_fails_for_every_tenth_request_gives_the_same_batches(
    prepared: Path, s3_bucket: str, s3_server: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = open_store(f"{s3_bucket}/set")
    for stat in LocalStore(prepared).list():
        remote.write(stat.key, prepared / stat.key)
    faults = ("503", "reset", "short", "hang", "500")

    def fault(number: int, method: str, path: str) -> str:
        return faults[number // 10 % len(faults)] if number % 10 == 4 else "ok"

    endpoint = os.environ["AWS_ENDPOINT_URL"]
    with faulty_proxy(endpoint, fault) as (url, log):
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        found = list(_few(open_dataset(f"{s3_bucket}/set"), run_config(cache=False)))
    assert sum(what != "ok" for what in log) >= 5
    expected = list(_few(open_dataset(str(prepared)), run_config(cache=False)))
    assert all(torch.equal(a.video, b.video) for a, b in zip(found, expected, strict=True))


def _few(dataset: Dataset, config: RunConfig) -> Iterator[Batch]:
    with batches(dataset, config) as stream:
        yield from islice(stream, 16)
