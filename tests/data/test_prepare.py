"""From raw videos to a data set: the same bytes every time, whatever happens on the way."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_video import Recipe, make_video
from moving import clip_bytes, make_sources, moving_square

from vidgen.config.prepare import PrepareOptions
from vidgen.data.cut import Job, Record
from vidgen.data.dataset import open_dataset
from vidgen.data.manifest import MANIFEST, REJECTS, SUMMARY, DatasetSummary, read_rejects
from vidgen.data.pool import Outcome
from vidgen.data.prepare import Progress, on_this_machine, prepare
from vidgen.data.video import decode, encode_mp4, write_mp4
from vidgen.errors import ConfigError, DataError, NotFoundInStore, StorageError
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store

SMALL = PrepareOptions(width=32, height=32, fps=12, workers=2)


def files_of(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in (MANIFEST, REJECTS, SUMMARY)}


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


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 24, frames=120, height=240, width=320)
    command = [
        *(sys.executable, "-c", "from vidgen.cli import main; main()"),
        *("data", "prepare", str(raw), str(tmp_path / "a")),
        *("--set", "width=64", "--set", "height=64", "--set", "workers=2"),
    ]
    journal = tmp_path / "a" / "journal"
    run = subprocess.Popen(command, stderr=subprocess.PIPE)
    while not any(journal.glob("*.jsonl")):
        assert run.poll() is None, run.stderr and run.stderr.read()
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (tmp_path / "a" / SUMMARY).exists()
    with pytest.raises(DataError, match="holds no prepared data set"):
        open_dataset(str(tmp_path / "a"))
    text = "".join(path.read_text() for path in journal.glob("*.jsonl"))
    done = {json.loads(line)["source"] for line in text.splitlines()}
    assert done

    options = PrepareOptions(width=64, height=64, workers=2)
    asked: list[str] = []

    def spread(jobs: list[Job], options: PrepareOptions) -> Iterator[Outcome[Job, Record]]:
        asked.extend(job.stat.key for job in jobs)
        return on_this_machine(jobs, options)

    prepare(str(raw), str(tmp_path / "a"), options, spread=spread)
    assert set(asked) == {path.name for path in raw.glob("*.mp4")} - done
    prepare(str(raw), str(tmp_path / "b"), options)
    assert files_of(tmp_path / "a") == files_of(tmp_path / "b")
    keys = [
        [s.key for s in LocalStore(tmp_path / x).list() if "journal" not in s.key] for x in "ab"
    ]
    assert keys[0] == keys[1]
    assert not any(key.startswith("parts/") for key in keys[0])


@contextmanager
def signalled(name: str, what: signal.Signals) -> Iterator[list[int]]:
    """Send a signal, once, to the worker process that has the file open."""
    over = threading.Event()
    hit: list[int] = []

    def look() -> None:
        while not over.is_set() and not hit:
            for child in multiprocessing.active_children():
                with suppress(OSError):  # it ended meanwhile
                    files = {
                        link.readlink().name for link in Path(f"/proc/{child.pid}/fd").iterdir()
                    }
                    if name in files and child.pid:
                        os.kill(child.pid, what)
                        hit.append(child.pid)
            time.sleep(0.002)

    watcher = threading.Thread(target=look, daemon=True)
    watcher.start()
    yield hit
    over.set()
    watcher.join()


@pytest.fixture
def two_and_a_slow_one(tmp_path: Path) -> Path:
    raw = make_sources(tmp_path / "raw", 2)
    write_mp4(raw / "a-slow.mp4", moving_square(9, frames=200).repeat(10, 1).repeat(10, 2), 30)
    return raw


def test_a_decoder_that_is_killed_costs_one_source_for_now(
    two_and_a_slow_one: Path, tmp_path: Path
) -> None:
    one = SMALL.model_copy(update={"workers": 1})
    with signalled("a-slow.mp4", signal.SIGKILL) as hit:
        summary = prepare(str(two_and_a_slow_one), str(tmp_path / "made"), one)
    assert hit
    rejects = read_rejects(LocalStore(tmp_path / "made"))
    assert [(r.source, r.reason.value) for r in rejects] == [("a-slow.mp4", "crashed")]
    assert "SIGKILL" in rejects[0].detail
    assert (summary.sources.kept, summary.sources.rejected) == (2, 1)
    again = prepare(str(two_and_a_slow_one), str(tmp_path / "made"), one)  # perhaps not its fault
    assert (again.sources.kept, again.sources.rejected) == (3, 0)


def test_a_decoder_that_hangs_costs_one_source(two_and_a_slow_one: Path, tmp_path: Path) -> None:
    options = SMALL.model_copy(update={"workers": 2, "timeout_s": 12.0})
    with signalled("a-slow.mp4", signal.SIGSTOP) as hit:
        prepare(str(two_and_a_slow_one), str(tmp_path / "made"), options)
    rejects = read_rejects(LocalStore(tmp_path / "made"))
    assert [(r.source, r.reason.value) for r in rejects] == [("a-slow.mp4", "timeout")]
    assert not Path(f"/proc/{hit[0]}").exists()


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, DatasetSummary]:
    """A folder of everything that is found where videos should be, prepared."""
    raw = make_sources(tmp_path_factory.mktemp("zoo"), 3)
    good = encode_mp4(moving_square(3), 12)
    names = ("-dash.mp4", "sp ace 'q\" ü\n.mp4", "sub/dir/x.MP4", "no_extension")
    for number, name in enumerate(names):
        (raw / name).parent.mkdir(parents=True, exist_ok=True)
        (raw / name).write_bytes(encode_mp4(moving_square(20 + number), 12))
    (raw / "w000.mp4").write_bytes((raw / "v000.mp4").read_bytes())
    for name, data in broken_ones(raw.parent).items():
        (raw / name).write_bytes(data)
    (raw / "empty.mp4").touch()
    (raw / "text.mp4").write_text("hello\n" * 99)
    (raw / "playlist.mp4").write_text("ffconcat version 1.0\nfile v000.mp4\n")
    (raw / "cut.mp4").write_bytes(good[: len(good) // 2])
    (raw / "unknown.xyz").write_bytes(os.urandom(5000))
    (raw / "notes.md").write_text("# notes")
    (raw / ".hidden.mp4").write_bytes(good)
    os.mkfifo(raw / "pipe.mp4")
    os.mkfifo(raw / "pipe")
    (raw / "loop.mp4").symlink_to("loop.mp4")
    (raw / "link.mp4").symlink_to("v000.mp4")
    (raw / "around").symlink_to(".")
    (raw / b"caf\xe9.mp4".decode("utf-8", "surrogateescape")).write_bytes(good)
    write_mp4(raw / "still.mp4", moving_square(4)[:1].repeat(24, 0), 12)
    write_mp4(raw / "tiny.mp4", moving_square(4)[:, :2, :2], 12)
    write_mp4(raw / "one_frame.mp4", moving_square(4)[:1], 12)
    write_mp4(raw / "slides.mp4", moving_square(4), 1)
    deep = Recipe(container="matroska", codec="libx264", pix_fmt="yuv420p10le", frames=60)
    make_video(raw / "ten_bit.mkv", deep)
    broken = bytearray((raw / "ten_bit.mkv").read_bytes())
    for at in range(2000, len(broken), 50):
        broken[at] ^= 0xFF
    (raw / "broken.mkv").write_bytes(broken)
    made = tmp_path_factory.mktemp("zoo-made")
    return made, prepare(str(raw), str(made), SMALL.model_copy(update={"max_noise": 1.0}))


def broken_ones(folder: Path) -> dict[str, bytes]:
    """Files that claim to be videos, by name."""
    sound = folder / "sound.mp4"
    with av.open(str(sound), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    raw = make_video(folder / "raw.avi", Recipe(container="avi", codec="rawvideo", frames=3))
    huge = bytearray(raw.read_bytes())
    at = huge.index(b"strf") + 8 + 4  # width and height in BITMAPINFOHEADER
    huge[at : at + 8] = struct.pack("<ii", 12_000, 12_000)
    secret = folder / "secret.mp4"
    plain = make_video(folder / "plain.mp4", Recipe(container="mp4", codec="libx264"))
    keys = {"encryption_key": "76a6c65c5ea762046bd749a2e632ccbb"}
    keys |= {"encryption_scheme": "cenc-aes-ctr", "encryption_kid": keys["encryption_key"]}
    with av.open(str(plain)) as source, av.open(str(secret), "w", options=keys) as target:
        out = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = out
                target.mux(packet)
    return {
        "sound.mp4": sound.read_bytes(),
        "huge.avi": bytes(huge),
        "secret.mp4": secret.read_bytes(),
    }


@pytest.mark.xdist_group("zoo")
def test_everything_is_kept_rejected_or_skipped(zoo: tuple[Path, DatasetSummary]) -> None:
    made, summary = zoo
    rejects = {r.source: r.reason.value for r in read_rejects(LocalStore(made))}
    assert rejects == {
        "empty.mp4": "empty_file",
        "text.mp4": "not_video",
        "playlist.mp4": "not_video",
        "cut.mp4": "not_video",
        "pipe.mp4": "not_a_file",
        "loop.mp4": "not_a_file",
        "caf?.mp4": "bad_name",
        "still.mp4": "static",
        "tiny.mp4": "too_small",
        "one_frame.mp4": "too_short",
        "slides.mp4": "low_rate",
        "broken.mkv": "corrupt",
        "sound.mp4": "not_video",
        "huge.avi": "too_many_pixels",
        "secret.mp4": "corrupt",
        **dict.fromkeys(("v000.mp4", "w000.mp4"), "duplicate"),
    }
    kept = set(open_dataset(str(made)).table["source"].to_pylist())
    assert kept == {
        *("link.mp4", "v001.mp4", "v002.mp4", "ten_bit.mkv"),
        *("-dash.mp4", "sp ace 'q\" ü\n.mp4", "sub/dir/x.MP4", "no_extension"),
    }
    n = summary.sources
    # captions.csv, unknown.xyz, notes.md, .hidden.mp4, pipe; a link to a folder is not followed
    assert (n.kept, n.rejected, n.skipped) == (len(kept), len(rejects), 5)
    assert n.seen == n.kept + n.rejected + n.skipped
    assert sum(summary.rejects.values()) == len(rejects)


@pytest.mark.xdist_group("zoo")
def test_no_clip_of_a_rejected_source_stays(zoo: tuple[Path, DatasetSummary]) -> None:
    made, _ = zoo
    rows = set(open_dataset(str(made)).table["clip"].to_pylist())
    assert {s.key for s in LocalStore(made).list("packs/") if s.key.endswith(".clips")} == rows


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
