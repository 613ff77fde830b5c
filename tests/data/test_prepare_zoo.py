"""Everything that is found where videos should be is kept, rejected with its reason, or skipped."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from made_video import Recipe, make_video
from moving import SMALL, make_sources, moving_square

from vidgen.data.dataset import open_dataset
from vidgen.data.encode import encode_mp4, write_mp4
from vidgen.data.manifest import DatasetSummary, read_rejects
from vidgen.data.prepare import prepare
from vidgen.storage.local import LocalStore


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
