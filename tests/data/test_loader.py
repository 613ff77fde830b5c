"""Batches: the same clips whatever the number of ranks, processes or restarts."""

from __future__ import annotations

import shutil
import threading
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from moving import clip_bytes, make_sources, run_config
from torch import Tensor

from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig
from vidgen.data import fetch
from vidgen.data.conditions import sketch
from vidgen.data.dataset import Dataset, open_dataset
from vidgen.data.loader import Batches, batches, eval_batches
from vidgen.data.prepare import prepare
from vidgen.data.video import decode
from vidgen.errors import DataError, VidgenError
from vidgen.types import Batch, decode_text, encode_text


def take(loader: Batches, count: int) -> list[Batch]:
    with loader:
        return list(islice(loader, count))


def same(a: Batch, b: Batch) -> bool:
    names = dict(a.cond.items()).keys()
    return (
        torch.equal(a.video, b.video)
        and torch.equal(a.seed, b.seed)
        and names == dict(b.cond.items()).keys()
        and all(torch.equal(getattr(a.cond, n), getattr(b.cond, n)) for n in names)
    )


def joined(parts: list[Batch]) -> Batch:
    return Batch(
        video=torch.cat([part.video for part in parts]),
        seed=torch.cat([part.seed for part in parts]),
        cond=parts[0].cond.__class__(
            **{
                name: torch.cat([getattr(part.cond, name) for part in parts])
                for name, _ in parts[0].cond.items()
            }
        ),
    )


@pytest.mark.parametrize("world", [2, 4])
def test_all_ranks_together_see_the_same_global_batches(dataset: Dataset, world: int) -> None:
    config = run_config()
    whole = take(batches(dataset, config), 10)
    ranks = [take(batches(dataset, config, rank=r, world=world), 10) for r in range(world)]
    for step, batch in enumerate(whole):
        assert all(len(rank[step]) == 4 // world for rank in ranks)
        assert same(joined([rank[step] for rank in ranks]), batch)


def test_a_run_goes_on_in_mid_epoch_at_another_rank_count(dataset: Dataset) -> None:
    config = run_config()
    whole = take(batches(dataset, config), 9)
    for step, world in ((3, 1), (6, 2)):
        rest = [
            take(batches(dataset, config, rank=r, world=world, start_step=step), 3)
            for r in range(world)
        ]
        for n in range(3):
            assert same(joined([rank[n] for rank in rest]), whole[step + n])


def test_loader_processes_change_nothing(dataset: Dataset) -> None:
    alone = take(batches(dataset, run_config()), 6)
    helped = take(batches(open_dataset(dataset.store), run_config(loader_workers=2)), 6)
    uncached = take(batches(open_dataset(dataset.store), run_config(cache=False)), 6)
    assert all(same(a, b) and same(a, c) for a, b, c in zip(alone, helped, uncached, strict=True))


def test_an_epoch_shows_every_training_clip_once(dataset: Dataset) -> None:
    seen = take(batches(dataset, run_config(conditions=("text",))), 8)  # 16 clips: two epochs
    captions = [
        decode_text(row) for batch in seen for _, text in batch.cond.items() for row in text
    ]
    expected = sorted(row.caption for row in dataset.split("train"))
    assert sorted(captions[:16]) == sorted(captions[16:]) == expected
    assert captions[:16] != captions[16:]


def test_seeds_and_windows_follow_the_run_seed(dataset: Dataset) -> None:
    first, other = (take(batches(dataset, run_config(seed=s)), 2) for s in (0, 1))
    assert not same(first[0], other[0])
    seeds = torch.cat([batch.seed for batch in first])
    assert len(set(seeds.tolist())) == 8


def test_every_condition_is_what_it_says(dataset: Dataset, prepared: Path) -> None:
    names = ("label", "text", "image", "sketch", "past")
    (batch,) = take(batches(dataset, run_config(conditions=names)), 1)
    cond = batch.cond
    assert batch.video.shape == (4, 3, 8, 16, 16)
    assert batch.video.dtype == torch.float32
    assert -1 <= batch.video.min() < batch.video.max() <= 1
    assert cond.past is not None
    assert cond.past.shape == (4, 3, 2, 16, 16)
    assert torch.equal(cond.image, batch.video[:, :, 0])  # type: ignore[arg-type]
    assert torch.equal(cond.sketch, sketch(batch.video))  # type: ignore[arg-type]
    by_caption = {row.caption: row for row in dataset.split("train")}
    for n in range(4):
        row = by_caption[decode_text(cond.text[n])]  # type: ignore[index]
        assert dataset.labels[cond.label[n]] == row.label  # type: ignore[index]
        clip = decode(clip_bytes(prepared, row), fps=12, size=(16, 16))
        whole = torch.cat([cond.past[n], batch.video[n]], dim=1).permute(1, 2, 3, 0)
        starts = [
            s
            for s in range(len(clip) - 9)
            if torch.equal(torch.from_numpy(clip[s : s + 10]).float() / 127.5 - 1, whole)
        ]
        assert starts, "past and video are no window of the clip"


def test_only_what_is_asked_for_is_built(dataset: Dataset) -> None:
    (batch,) = take(batches(dataset, run_config(), conditions=()), 1)
    assert dict(batch.cond.items()) == {}


def test_windows_move_within_a_clip(dataset: Dataset) -> None:
    config = run_config(batch_size=16, frames=4)
    firsts = {tuple(b.video[:, :, 0].flatten().tolist()) for b in take(batches(dataset, config), 6)}
    assert len(firsts) == 6


def test_a_lower_rate_takes_every_other_frame(dataset: Dataset, prepared: Path) -> None:
    config = run_config(fps=6, frames=12)
    (part,) = eval_batches(dataset, config, split="val", limit=1, batch_size=4)
    clip = decode(clip_bytes(prepared, part.rows[0]), fps=12, size=(16, 16))
    expected = torch.from_numpy(clip[::2]).float() / 127.5 - 1
    assert torch.equal(part.batch.video[0].permute(1, 2, 3, 0), expected)


def test_a_fixed_pass_is_always_the_same(dataset: Dataset) -> None:
    config = run_config(conditions=("text",))

    def collect(batch_size: int, **ranks: int) -> dict[int, tuple[str, int, Tensor]]:
        found = {}
        for part in eval_batches(
            dataset, config, split="train", limit=10, batch_size=batch_size, **ranks
        ):
            for n, index in enumerate(part.index):
                assert decode_text(part.batch.cond.text[n]) == part.captions[n]  # type: ignore[index]
                found[index] = part.captions[n], int(part.batch.seed[n]), part.batch.video[n]
        return found

    whole, halves = collect(4), {**collect(3, rank=0, world=2), **collect(3, rank=1, world=2)}
    other_seed = run_config(seed=5, conditions=("text",))
    again = [
        p.index for p in eval_batches(dataset, other_seed, split="train", limit=10, batch_size=10)
    ]
    assert len(whole) == 10
    assert whole.keys() == halves.keys() == set(again[0])
    for index, (caption, seed, video) in whole.items():
        assert halves[index][:2] == (caption, seed)
        assert torch.equal(halves[index][2], video)


def test_reading_ahead_stops_at_the_limit(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    real = fetch.WindowReader.__call__

    def counted(self: fetch.WindowReader, place: fetch.Window) -> np.ndarray:
        made.append(place)
        return real(self, place)

    monkeypatch.setattr(fetch.WindowReader, "__call__", counted)
    config = run_config(cache=False, prefetch=2)
    with batches(dataset, config) as loader:
        threading.Event().wait(1.5)
        # Two batches wait in the queue and one in the thread's hands.
        assert len(made) <= 3 * 4
        next(loader)
        next(loader)
    assert len(made) <= 5 * 4


def test_closing_ends_thread_and_processes(dataset: Dataset) -> None:
    before = threading.active_count()
    loader = batches(dataset, run_config(loader_workers=1))
    next(loader)
    loader.close()
    loader.close()
    assert threading.active_count() == before
    with pytest.raises(StopIteration):
        next(loader)


def test_the_cache_keeps_to_its_limit(dataset: Dataset) -> None:
    clip = 24 * 16 * 16 * 3
    config = run_config(cache_bytes=3 * clip + 1)
    take(batches(dataset, config), 8)
    assert dataset.cache._bytes == 3 * clip


def expect(config: RunConfig, dataset: Dataset, says: str, split: str = "train") -> None:
    with pytest.raises(VidgenError, match=says):
        take(batches(dataset, config, split=split), 1)


def test_runs_that_do_not_fit_the_data(dataset: Dataset) -> None:
    expect(run_config(frames=25), dataset, r"no clip in split 'train' .* has 25 frames at 12 fps")
    expect(run_config(fps=24), dataset, r"data.fps is 24, the data set has 12 frames per second")
    expect(run_config(labels=("kind0",)), dataset, r"has the label 'kind1', unknown to the model")
    expect(run_config(), dataset, r"no split 'trian' \(did you mean 'train'", split="trian")


def test_damaged_data_sets(prepared: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(prepared, tmp_path / "copy"))
    (pack,) = copy.glob("packs/*.clips")
    whole = pack.read_bytes()
    pack.write_bytes(bytes(len(whole)))
    says = r"cannot decode 2 of 16 clips.*\.mp4.*Prepare the data set"
    expect(run_config(), open_dataset(str(copy)), says)
    expect(run_config(loader_workers=1), open_dataset(str(copy)), says)
    pack.write_bytes(whole[:1000])
    expect(run_config(), open_dataset(str(copy)), r"\.clips has 1000 bytes; expected at least")
    pack.unlink()
    expect(run_config(), open_dataset(str(copy)), r"\.clips does not exist")
    (copy / "rows" / "00000.arrow").write_bytes(bytes(100_000))
    expect(run_config(), open_dataset(str(copy)), r"rows/00000.arrow is damaged.*Prepare")
    (copy / "manifest.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(DataError, match=r"manifest\.parquet is damaged"):
        _ = open_dataset(str(copy)).table
    for text, says in (
        ("{", "is damaged"),
        ('{"version": 1}', "damaged: width"),
    ):
        (copy / "dataset.json").write_text(text)
        with pytest.raises(DataError, match=says):
            open_dataset(str(copy))
    newer = (prepared / "dataset.json").read_text().replace('"version": 2', '"version": 99')
    (copy / "dataset.json").write_text(newer)
    with pytest.raises(DataError, match=r"version 99; expected version"):
        open_dataset(str(copy))
    with pytest.raises(DataError, match=r"no prepared data set .*vidgen data prepare"):
        open_dataset(str(tmp_path))


def test_a_split_without_clips(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 1)
    prepare(
        str(raw), str(tmp_path / "made"), PrepareOptions(width=16, height=16, fps=12, workers=1)
    )
    dataset = open_dataset(str(tmp_path / "made"))
    expect(run_config(), dataset, r"no clip in split 'val'.*takes three", split="val")


def test_sketches_are_edges() -> None:
    video = -torch.ones(1, 3, 2, 8, 8)
    video[..., 4:] = 1
    edges = sketch(video)
    assert edges.shape == (1, 1, 2, 8, 8)
    assert (edges[..., 3:5] == 1).all()
    assert (edges[..., :3] == 0).all()
    assert (sketch(video.mean(-1, keepdim=True).expand_as(video)) == 0).all()


def test_text_survives_the_trip() -> None:
    for text in ("", "a red square", "ein grünes Dreieck ✓"):
        assert decode_text(encode_text([text])[0]) == text
