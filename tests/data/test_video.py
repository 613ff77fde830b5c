"""Whole videos: what goes in comes out, picked by time; what is no video is refused."""

from __future__ import annotations

import os
import threading
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_video import Recipe, make_video, nearest_frames, plain_frames
from moving import moving_square

from vidgen.data.encode import encode_mp4, write_mp4
from vidgen.data.reasons import Reason, Rejected
from vidgen.data.video import decode, open_video, probe
from vidgen.errors import StorageError


def test_encoding_is_deterministic_and_close() -> None:
    frames = moving_square(0, height=64, width=96)
    data = encode_mp4(frames, 12, crf=10)
    assert {encode_mp4(frames, 12, crf=10) for _ in range(8)} == {data}
    back = decode(data, fps=12)
    assert back.shape == frames.shape
    assert np.abs(back.astype(int) - frames).mean() < 4
    assert len(encode_mp4(frames, 12, crf=40)) < 0.7 * len(data)


def test_colours_come_back_without_a_shift() -> None:
    colours = np.random.default_rng(0).integers(20, 235, (24, 3), dtype=np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (24, 32, 32, 3))
    error = decode(encode_mp4(frames, 8, crf=5), fps=8).astype(int) - frames
    assert np.abs(error.mean((0, 1, 2))).max() < 1
    assert np.abs(error).max() <= 4


def test_browsers_can_play_it(tmp_path: Path) -> None:
    write_mp4(tmp_path / "x.mp4", moving_square(0), 12)
    with av.open(str(tmp_path / "x.mp4")) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 12
        assert stream.frames == 24
    assert [path.name for path in tmp_path.iterdir()] == ["x.mp4"]


@pytest.mark.parametrize("size", [(15, 17), (16, 17), (2, 2), (1, 1)])
def test_odd_sizes_grow_by_their_last_row_or_column(size: tuple[int, int]) -> None:
    frames = moving_square(1, height=48, width=64)[:, : size[0], : size[1]]
    back = decode(encode_mp4(frames, 12, crf=0), fps=12)
    even = [side + side % 2 for side in size]
    assert back.shape[1:3] == tuple(even)
    assert np.abs(back[:, : size[0], : size[1]].astype(int) - frames).mean() < 12


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((0, 8, 8, 3), np.uint8),
        np.zeros((4, 8, 8, 3), np.float32),
        np.zeros((4, 3, 8, 8), np.uint8),
        np.zeros((8, 8, 3), np.uint8),
    ],
)
def test_what_is_no_video_array_is_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"\(T, H, W, 3\) uint8"):
        encode_mp4(frames, 8)


def test_writing_into_nowhere_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match="file"):
        write_mp4(tmp_path / "file" / "x.mp4", moving_square(0), 12)


@pytest.mark.parametrize("fps", [30, 24, 60, 12, Fraction(30000, 1001), 7.5, 1])
def test_frames_are_those_nearest_in_time(fps: float, tmp_path: Path) -> None:
    """Against a list of all frames, of variable rate, with B-frames and an edit list."""
    recipe = Recipe(container="mp4", codec="libx264", gaps=(1, 3, 1, 2), shift=-2, b_frames=2)
    path = make_video(tmp_path / "x.mp4", recipe)
    got = decode(path, fps=fps)
    step = 1 / Fraction(fps).limit_denominator(100_000)
    times = [n * step for n in range(len(got))]
    expected = nearest_frames(plain_frames(path), times)
    assert (got == expected).all()


def test_length_follows_the_clock(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mkv", Recipe(container="matroska", codec="libx264", frames=45))
    for fps in (30, 10, 60, 8):
        assert len(decode(path, fps=fps)) == round(1.5 * fps)


def test_size_and_fit() -> None:
    wide = np.zeros((6, 32, 96, 3), np.uint8)
    wide[:, :, 32:64] = 255  # the middle square is white
    data = encode_mp4(wide, 6, crf=5)
    assert decode(data, fps=6, size=(16, 16)).mean() > 240
    stretched = decode(data, fps=6, size=(16, 16), fit="stretch")
    assert stretched.shape == (6, 16, 16, 3)
    assert 75 < stretched.mean() < 95
    assert decode(data, fps=6, size=(64, 48)).shape == (6, 64, 48, 3)


@pytest.mark.parametrize("turn", [90, 180, 270])
def test_rotation_and_pixel_shape_are_applied(turn: int, tmp_path: Path) -> None:
    recipe = Recipe(container="mp4", codec="libx264", turn=turn, pixel_shape=Fraction(2), frames=8)
    info = probe(make_video(tmp_path / "x.mp4", recipe))
    stored_h, stored_w = recipe.size
    shown = (stored_w * 2, stored_h)
    assert (info.width, info.height) == (shown if turn == 180 else shown[::-1])
    plain = make_video(tmp_path / "plain.mp4", Recipe(container="mp4", codec="libx264", frames=8))
    got, base = decode(tmp_path / "x.mp4", fps=30), decode(plain, fps=30)
    # The picture's corner tells how it was turned.
    quarters = info.rotation // 90
    upright = np.rot90(np.repeat(base, 2, axis=2), -quarters, axes=(1, 2))
    assert np.abs(got.astype(int) - upright).mean() < 16


def test_probe_says_what_is_there(tmp_path: Path) -> None:
    write_mp4(tmp_path / "x.mp4", moving_square(0), 12)
    info = probe(tmp_path / "x.mp4")
    assert (info.codec, info.width, info.height, info.fps) == ("h264", 64, 48, 12)
    assert info.duration_s == pytest.approx(2)


def refuse(source: Path | bytes, reason: Reason, **limits: int) -> None:
    with pytest.raises(Rejected) as caught, open_video(source, **limits) as video:
        list(video.frames(fps=8))
    assert caught.value.reason is reason


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    refuse(tmp_path / "empty.mp4", Reason.EMPTY_FILE)
    refuse(b"", Reason.EMPTY_FILE)
    (tmp_path / "text.mp4").write_text("not a video\n" * 1000)
    refuse(tmp_path / "text.mp4", Reason.NOT_VIDEO)
    refuse(tmp_path, Reason.NOT_A_FILE)
    refuse(tmp_path / "missing", Reason.NOT_A_FILE)
    (tmp_path / "loop.mp4").symlink_to("loop.mp4")
    refuse(tmp_path / "loop.mp4", Reason.NOT_A_FILE)
    os.mkfifo(tmp_path / "pipe.mp4")
    worker = threading.Thread(
        target=refuse, args=(tmp_path / "pipe.mp4", Reason.NOT_A_FILE), daemon=True
    )
    worker.start()
    worker.join(10)
    assert not worker.is_alive(), "opening a pipe hangs"


@pytest.mark.parametrize(
    "script",
    [
        "ffconcat version 1.0\nfile {target}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{target}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:9/{target}\n",
    ],
)
def test_a_playlist_cannot_open_other_files(script: str, tmp_path: Path) -> None:
    write_mp4(tmp_path / "target.mp4", moving_square(0), 12)
    for name in ("x.mp4", "x.m3u8", "x.ffconcat", "x.mkv"):
        (tmp_path / name).write_text(script.format(target="target.mp4"))
        refuse(tmp_path / name, Reason.NOT_VIDEO)


def test_names_mean_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    data = encode_mp4(moving_square(0), 12)
    for name in ("-i.mp4", "a b'c\"d\n.mp4", "concat:x|y.mp4", "data:,x", "é✓.mp4", "%04d.mp4"):
        Path(name).write_bytes(data)
        assert probe(Path(name)).width == 64


def test_huge_frames_are_refused_before_they_are_made() -> None:
    data = encode_mp4(moving_square(0), 12)
    refuse(data, Reason.TOO_MANY_PIXELS, max_pixels=64 * 48 - 1)
    with open_video(data, max_pixels=64 * 48) as video:
        assert sum(1 for _ in video.frames(fps=12)) == 24


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4410), np.float32), "fltp", "mono")
        frame.sample_rate = 44100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refuse(tmp_path / "a.mp4", Reason.NOT_VIDEO)


def test_damage_is_counted_and_does_not_stop_decoding(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mkv", Recipe(container="matroska", codec="libx264", frames=60))
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 4000, 40):
        data[at] ^= 0xFF
    with open_video(bytes(data)) as video:
        frames = sum(1 for _ in video.frames(fps=30))
    assert video.tally.damaged > 0
    assert frames > 30


def test_a_cut_off_file_gives_what_is_there(tmp_path: Path) -> None:
    path = make_video(tmp_path / "x.mkv", Recipe(container="matroska", codec="libx264", frames=60))
    data = path.read_bytes()
    assert 10 < len(decode(data[: len(data) // 2], fps=30)) < 50
    mp4 = encode_mp4(moving_square(0), 12)
    refuse(mp4[: len(mp4) // 2], Reason.NOT_VIDEO)  # the table at its end is gone


@pytest.mark.parametrize(
    ("container", "codec", "pix_fmt"),
    [
        ("matroska", "libx264", "yuv420p10le"),
        ("matroska", "libx264", "yuv444p"),
        ("avi", "mpeg4", "yuv420p"),
        ("mp4", "libx265", "yuv420p"),
        ("webm", "libvpx-vp9", "yuv420p"),
        ("mpegts", "mpeg2video", "yuv420p"),
    ],
)
def test_codecs_and_containers(container: str, codec: str, pix_fmt: str, tmp_path: Path) -> None:
    recipe = Recipe(container=container, codec=codec, pix_fmt=pix_fmt, frames=30)
    path = make_video(tmp_path / "x", recipe)
    frames = decode(path, fps=30)
    assert abs(len(frames) - 30) <= 1
    assert frames.shape[1:] == (48, 64, 3)
    assert frames.std() > 10


def test_rejections_cross_process_borders() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(Rejected(Reason.CORRUPT, "x.mp4: broken")))
    assert (error.reason, error.detail) == (Reason.CORRUPT, "x.mp4: broken")
    assert str(error) == "x.mp4: broken (corrupt)"
