"""From raw videos to a data set: the same bytes every time, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from moving import SMALL, clip_bytes, files_of, make_sources, moving_square

from vidgen.config.prepare import PrepareOptions
from vidgen.data.dataset import open_dataset
from vidgen.data.encode import write_mp4
from vidgen.data.manifest import MANIFEST, REJECTS, SUMMARY
from vidgen.data.prepare import Progress, prepare
from vidgen.data.video import decode
from vidgen.errors import ConfigError, DataError, NotFoundInStore, StorageError
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store


def test_every_row_is_true(prepared: Path, sources: Path) -> None:
    dataset = open_dataset(str(prepared))
    assert dataset.summary.clips == {"train": 16, "val": 2, "test": 2}
    assert dataset.labels == ("kind0", "kind1")
    for row in dataset.table.to_pylist():
        data = clip_bytes(prepared, row)
        assert (len(data), hashlib.sha256(data).hexdigest()) == (row["bytes"], row["sha256"])
        clip = decode(data, fps=row["fps"])
        assert clip.shape == (row["frames"], row["height"], row["width"], 3) == (24, 32, 32, 3)
        number = int(row["source"][1:4])
        assert row["caption"] == f"square number {number}"
        assert row["label"] == f"kind{number % 2}"
        assert json.loads(row["extra"]) == {"number": str(number)}
        assert (row["source_width"], row["source_height"], row["source_fps"]) == (64, 48, 12)
        assert row["duration_s"] == 2
        original = decode(sources / row["source"], fps=12, size=(32, 32))
        assert abs(clip.astype(int) - original).mean() < 4
        assert row["motion"] > 0


def test_the_same_bytes_again_and_nothing_redone(
    prepared: Path, sources: Path, tmp_path: Path
) -> None:
    before = files_of(prepared)
    stamps = {stat.key: stat.etag for stat in LocalStore(prepared).list("packs/")}
    calls: list[Progress] = []
    prepare(str(sources), str(prepared), SMALL, progress=calls.append)
    assert calls == []
    assert files_of(prepared) == before
    after = {stat.key: stat.etag for stat in LocalStore(prepared).list("packs/")}
    assert {key: after[key] for key in stamps if key.endswith(".clips")}.items() <= stamps.items()
    prepare(str(sources), str(tmp_path), SMALL.model_copy(update={"workers": 1}))
    assert files_of(tmp_path) == before


def test_from_bucket_to_bucket(prepared: Path, sources: Path, s3_bucket: str) -> None:
    store = open_store(f"{s3_bucket}/raw")
    for stat in LocalStore(sources).list():
        store.write(stat.key, sources / stat.key)
    prepare(f"{s3_bucket}/raw", f"{s3_bucket}/made", SMALL)
    made = open_store(f"{s3_bucket}/made")
    assert {name: made.read(name) for name in (MANIFEST, REJECTS, SUMMARY)} == files_of(prepared)
    local = {stat.key: stat.size for stat in LocalStore(prepared).list("packs/")}
    assert {stat.key: stat.size for stat in made.list("packs/")} == local


def test_long_sources_become_several_clips_of_one_split(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 5, frames=70)
    options = SMALL.model_copy(update={"clip_seconds": 2.0, "min_seconds": 0.5})
    prepare(str(raw), str(tmp_path / "made"), options)
    rows = open_dataset(str(tmp_path / "made")).table.to_pylist()
    assert len(rows) == 15
    by_source: dict[str, list[dict[str, object]]] = {}
    for row in rows:
        by_source.setdefault(row["source"], []).append(row)
    for parts in by_source.values():
        assert [(p["start_s"], p["frames"]) for p in parts] == [(0, 24), (2, 24), (4, 22)]
        assert len({p["split"] for p in parts}) == 1


def test_new_captions_cut_nothing_again(tmp_path: Path) -> None:
    raw, made = make_sources(tmp_path / "raw", 3), tmp_path / "made"
    prepare(str(raw), str(made), SMALL)
    table = (raw / "captions.csv").read_text().replace("square number 1", "the first one")
    (raw / "captions.csv").write_text(table)
    calls: list[Progress] = []
    prepare(str(raw), str(made), SMALL, progress=calls.append)
    assert calls == []
    assert "the first one" in open_dataset(str(made)).table["caption"].to_pylist()


def test_changed_new_and_removed_sources(tmp_path: Path) -> None:
    raw, made = make_sources(tmp_path / "raw", 4), tmp_path / "made"
    prepare(str(raw), str(made), SMALL)
    write_mp4(raw / "v000.mp4", moving_square(77), 12)
    write_mp4(raw / "new.mp4", moving_square(78), 12)
    (raw / "v003.mp4").unlink()
    calls: list[Progress] = []
    summary = prepare(str(raw), str(made), SMALL, progress=calls.append)
    assert [call.done for call in calls] == [3, 4]
    assert summary.sources.kept == 4
    prepare(str(raw), str(tmp_path / "fresh"), SMALL)
    assert files_of(made) == files_of(tmp_path / "fresh")
    names = [{s.key for s in LocalStore(at).list("packs/")} for at in (made, tmp_path / "fresh")]
    assert names[0] == names[1]


def test_dest_inside_src_is_not_a_source(tmp_path: Path) -> None:
    raw = make_sources(tmp_path, 3)
    for _ in range(2):
        summary = prepare(str(raw), str(raw / "made"), SMALL)
        assert (summary.sources.kept, summary.sources.seen) == (3, 4)


def test_places_that_hold_no_videos(tmp_path: Path, s3_bucket: str) -> None:
    dest = str(tmp_path / "made")
    with pytest.raises(NotFoundInStore, match="missing does not exist"):
        prepare(str(tmp_path / "missing"), dest)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no file at all"):
        prepare(str(tmp_path / "empty"), dest)
    with pytest.raises(DataError, match="no file at all"):
        prepare(f"{s3_bucket}/nothing", dest)
    (tmp_path / "empty" / "readme.txt").write_text("x")
    with pytest.raises(DataError, match=r"no video in .*: 1 other files"):
        prepare(str(tmp_path / "empty"), dest)
    with pytest.raises(DataError, match="is a file; expected a folder"):
        prepare(str(tmp_path / "empty" / "readme.txt"), dest)
    with pytest.raises(NotFoundInStore, match="bucket 'no-such-bucket' does not exist"):
        prepare("s3://no-such-bucket/x", dest)
    with pytest.raises(DataError, match="SRC and DEST are both"):
        prepare(str(tmp_path / "empty"), str(tmp_path / "empty"))
    assert not Path(dest).exists()


def test_no_video_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.mp4").write_text("no")
    (tmp_path / "raw" / "b.mp4").touch()
    with pytest.raises(DataError, match=r"none of the 2 videos .* 1 empty_file, 1 not_video"):
        prepare(str(tmp_path / "raw"), str(tmp_path / "made"), SMALL)
    assert len((tmp_path / "made" / REJECTS).read_text().splitlines()) == 2
    assert not (tmp_path / "made" / SUMMARY).exists()


def test_a_data_set_of_another_shape_is_not_replaced(prepared: Path, sources: Path) -> None:
    before = files_of(prepared)
    with pytest.raises(DataError, match="prepared with width=32, not 64"):
        prepare(str(sources), str(prepared), SMALL.model_copy(update={"width": 64}))
    assert files_of(prepared) == before


def test_a_dest_that_cannot_be_written_stops_the_run(sources: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        prepare(str(sources), str(tmp_path / "file" / "made"), SMALL)


def test_options_are_checked() -> None:
    from vidgen.config.load import load_options

    assert load_options(PrepareOptions, ["width=64", "fps=7.5", "split=[1,0,0]"]).fps == 7.5
    for override, says in (
        ("widht=64", r"unknown key 'widht' \(did you mean 'width'\?\)"),
        ("width=63", "multiple of 2"),
        ("split=[0.5,0.1,0.1]", "add up to 1"),
        ("min_seconds=9", "min_seconds 9 is over clip_seconds 4"),
        ("fps", "not an assignment"),
    ):
        with pytest.raises(ConfigError, match=says):
            load_options(PrepareOptions, [override])
