"""Real video files of many makes, from a folder and from a bucket, up to training batches."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch
from moving import clip_bytes, run_config

from vidgen.config.prepare import PrepareOptions
from vidgen.data.dataset import open_dataset
from vidgen.data.loader import batches, eval_batches
from vidgen.data.manifest import read_rejects
from vidgen.data.prepare import prepare
from vidgen.data.video import decode, probe
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store

pytestmark = pytest.mark.xdist_group("real clips")  # they share what takes long to prepare
OPTIONS = PrepareOptions(width=64, height=64, fps=8, clip_seconds=8)
VIDEO = {".mp4", ".mkv", ".avi", ".AVI", ".webm", ".3gp"}


@pytest.fixture(scope="module")
def made(real_clips: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    dest = tmp_path_factory.mktemp("real")
    prepare(str(real_clips), str(dest), OPTIONS)
    return dest


def test_every_file_is_kept_rejected_or_skipped(made: Path, real_clips: Path) -> None:
    dataset = open_dataset(str(made))
    n = dataset.summary.sources
    files = [path for path in real_clips.iterdir() if path.is_file()]
    videos = {path.name for path in files if path.suffix in VIDEO}
    assert n.seen == len(files) == n.kept + n.rejected + n.skipped
    assert n.skipped == len(files) - len(videos)
    kept = set(dataset.table["source"].to_pylist())
    rejected = {r.source for r in read_rejects(LocalStore(made)) if r.start_s is None}
    assert kept | rejected == videos
    assert len(kept) >= 0.9 * len(videos)
    per_split = {name: {row.source for row in dataset.split(name)} for name in dataset.splits}
    assert sum(len(sources) for sources in per_split.values()) == len(kept)
    assert all(per_split.values())


def test_captions_arrive(made: Path, real_clips: Path) -> None:
    with (real_clips / "captions.csv").open(newline="", encoding="utf-8") as file:
        written = {row["file"]: row for row in csv.DictReader(file)}
    for row in open_dataset(str(made)).table.to_pylist():
        assert row["caption"] == written[row["source"]]["caption"]
        assert row["label"] == written[row["source"]]["label"]


def test_clips_show_what_the_source_shows(made: Path, real_clips: Path) -> None:
    """The first clip of each short source against the source itself."""
    for row in open_dataset(str(made)).table.to_pylist():
        source = real_clips / row["source"]
        if row["start_s"] or source.stat().st_size > 500_000:
            continue
        clip = decode(clip_bytes(made, row), fps=8).astype(int)
        original = decode(source, fps=8, size=(64, 64))[: len(clip)].astype(int)
        assert np.abs(clip - original).mean() < 6, row["source"]


def test_rotation_is_applied(real_clips: Path) -> None:
    turned = real_clips / "facade_hlg_rot90.mp4"
    if not turned.exists():
        pytest.skip(f"no {turned.name} in {real_clips}")
    info = probe(turned)
    assert (info.width, info.height, info.rotation) == (1080, 1920, 90)


def test_training_reads_them(made: Path) -> None:
    dataset = open_dataset(str(made))
    config = run_config(frames=8, height=32, width=32, conditions=("label", "text", "image"))
    with batches(dataset, config) as loader:
        for _ in range(8):
            batch = next(loader)
            assert batch.video.shape == (4, 3, 8, 32, 32)
            assert batch.video.std() > 0.05
            assert (batch.cond.label >= 0).all()  # type: ignore[operator]
    parts = list(eval_batches(dataset, config, split="val", limit=8, batch_size=3))
    assert sum(len(part.rows) for part in parts) >= 2


def test_from_a_bucket_to_a_bucket_and_into_training(
    real_clips: Path, s3_bucket: str, tmp_path: Path
) -> None:
    """A few small files of different makes; local and remote results are the same."""
    raw = open_store(f"{s3_bucket}/raw")
    folder = LocalStore(tmp_path / "raw")
    small = [p for p in sorted(real_clips.iterdir()) if p.stat().st_size < 210_000]
    for path in small:
        raw.write(path.name, path)
        folder.write(path.name, path)
    remote = prepare(f"{s3_bucket}/raw", f"{s3_bucket}/made", OPTIONS)
    local = prepare(str(tmp_path / "raw"), str(tmp_path / "made"), OPTIONS)
    assert remote == local
    a, b = open_dataset(f"{s3_bucket}/made"), open_dataset(str(tmp_path / "made"))
    assert a.table == b.table
    config = run_config(frames=8, height=32, width=32)
    with batches(a, config) as x, batches(b, config) as y:
        for _ in range(4):
            assert torch.equal(next(x).video, next(y).video)
