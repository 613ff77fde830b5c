"""An index data set copies nothing and trains on the frames of a plain decode of the originals."""

from __future__ import annotations

import json
import shutil
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from made_video import Recipe, make_video, nearest_frames, plain_frames

from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig
from vidgen.data.dataset import open_dataset
from vidgen.data.inspect import inspect
from vidgen.data.loader import batches, eval_batches
from vidgen.data.manifest import Row
from vidgen.data.prepare import prepare
from vidgen.errors import DataError, StorageError
from vidgen.storage.open import open_store

OPTIONS = PrepareOptions(
    output="index",
    width=32,
    height=32,
    fps=10,
    clip_seconds=1,
    fit="stretch",
    workers=2,
    max_noise=1,  # the videos are nothing but noise
    duplicates="keep",
)


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("originals")
    for number in range(5):
        container, codec = [("mp4", "libx264"), ("matroska", "libx264"), ("avi", "mpeg4")][
            number % 3
        ]
        recipe = Recipe(container=container, codec=codec, frames=70 + number)
        make_video(folder / f"video {number}.{container}", recipe)
    make_video(folder / "stream.ts", Recipe(container="mpegts", codec="libx264", frames=45))
    (folder / "text.mp4").write_text("no video")
    rows = [f"video {n}.{'mp4' if n % 3 == 0 else 'matroska'},caption {n},train" for n in (0, 1)]
    (folder / "captions.csv").write_text("\n".join(["file,caption,split", *rows]) + "\n")
    return folder


@pytest.fixture(scope="module")
def dataset(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("index") / "set"
    summary = prepare(str(videos), str(folder), OPTIONS)
    assert summary.sources.kept == 6
    assert summary.rejects == {"not_video": 1, "too_short": 4}
    assert summary.originals == str(videos)
    return folder


def run_config(dataset: Path, **data: object) -> RunConfig:
    return RunConfig.model_validate(
        {
            "name": "test",
            "seed": 3,
            "data": {"url": str(dataset), "frames": 4, "height": 24, "width": 24, **data},
            "model": {"family": "flow", "conditions": []},
            "train": {"batch_size": 4},
        }
    )


def files(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def expected_frames(videos: Path, row: Row, first: int, count: int) -> np.ndarray:
    frames = plain_frames(videos / row.source, size=(24, 24))
    start = Fraction(row.start_s).limit_denominator(10**6)
    times = [start + Fraction(first + n, 10) for n in range(count)]
    chosen: np.ndarray = nearest_frames(frames, times)
    return chosen


def test_nothing_is_copied(videos: Path, dataset: Path) -> None:
    assert not (dataset / "clips").exists()
    assert (dataset / "packets" / "00000.parquet").is_file()
    found = open_dataset(str(dataset))
    rows = [row for name in ("train", "val", "test") for row in found.split(name)]
    assert {row.packets for row in rows} == set(range(6))
    assert {row.clip for row in rows} == {""}
    assert {row.caption for row in rows if row.source == "video 1.matroska"} == {"caption 1"}


def test_frames_are_those_of_a_plain_decode(videos: Path, dataset: Path) -> None:
    config = run_config(dataset)
    found = open_dataset(str(dataset))
    seen = 0
    for split in ("train", "val", "test"):
        for part in eval_batches(found, config, split=split, limit=20, batch_size=3):
            for video, row in zip(part.batch.video, part.rows, strict=True):
                spare = row.frames - 4
                expected = expected_frames(videos, row, spare // 2, 4)
                got = ((video.permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8).numpy()
                assert np.array_equal(got, expected), row
                seen += 1
    assert seen >= 10


def test_training_batches_do_not_depend_on_processes(dataset: Path) -> None:
    found = open_dataset(str(dataset))
    videos = []
    for workers in (0, 2):
        with batches(found, run_config(dataset, loader_workers=workers)) as stream:
            videos.append(torch.stack([next(stream).video for _ in range(4)]))
    assert torch.equal(*videos)


def test_deblocking_can_be_left_out(dataset: Path) -> None:
    found = open_dataset(str(dataset))
    videos = []
    for skip in ("none", "all"):
        with batches(found, run_config(dataset, skip_loop_filter=skip, cache=False)) as stream:
            videos.append(next(stream).video)
    difference = (videos[0] - videos[1]).abs()
    assert 0 < difference.mean() < 0.1


def test_prepare_again_changes_no_byte(videos: Path, dataset: Path) -> None:
    before = files(dataset)
    prepare(str(videos), str(dataset), OPTIONS)
    assert files(dataset) == before


def test_a_source_that_goes_takes_its_index_along(videos: Path, tmp_path: Path) -> None:
    originals = tmp_path / "originals"
    shutil.copytree(videos, originals)
    prepare(str(originals), str(tmp_path / "set"), OPTIONS)
    (originals / "video 0.mp4").unlink()
    summary = prepare(str(originals), str(tmp_path / "set"), OPTIONS)
    assert summary.sources.kept == 5
    assert len(list((tmp_path / "set" / "packets" / "parts").iterdir())) == 5
    rows = open_dataset(str(tmp_path / "set")).table.to_pylist()
    assert {row["packets"] for row in rows} == set(range(5))


def test_originals_that_changed_or_went_stop_training(videos: Path, tmp_path: Path) -> None:
    originals = tmp_path / "originals"
    shutil.copytree(videos, originals)
    prepare(str(originals), str(tmp_path / "set"), OPTIONS)
    found = open_dataset(str(tmp_path / "set"))
    for path in originals.glob("video*"):
        path.write_bytes(path.read_bytes())  # another modification time
    with (
        batches(found, run_config(tmp_path / "set")) as stream,
        pytest.raises(StorageError, match="changed"),
    ):
        next(stream)


def test_from_s3_through_the_disk_cache(
    videos: Path, s3_bucket: str, tmp_path: Path, dataset: Path
) -> None:
    remote = open_store(f"{s3_bucket}/videos")
    for path in videos.iterdir():
        remote.write(path.name, path)
    prepare(f"{s3_bucket}/videos", f"{s3_bucket}/set", OPTIONS)
    config = run_config(Path("unused"), disk_cache=str(tmp_path / "cache"))
    found = open_dataset(f"{s3_bucket}/set")
    here = open_dataset(str(dataset))
    with batches(found, config) as stream, batches(here, run_config(dataset)) as local:
        for _ in range(3):
            assert torch.equal(next(stream).video, next(local).video)
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and len(p.parent.name) == 2]
    assert len(kept) >= 4


def test_inspection_says_how_the_sources_are_read(dataset: Path) -> None:
    found = inspect(str(dataset))
    assert found["originals"]
    assert found["indexed"] == {"read to the end": 3, "tables": 2, "demuxed each time": 1}
    assert any("stream.ts" in warning for warning in found["warnings"])
    assert json.dumps(found)


def test_index_and_pack_do_not_mix(videos: Path, dataset: Path) -> None:
    with pytest.raises(DataError, match="output"):
        prepare(str(videos), str(dataset), OPTIONS.model_copy(update={"output": "pack"}))
