"""Videos that are odd or broken: read as a plain decode reads them, or rejected with a reason."""

from __future__ import annotations

import random
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from made_video import Recipe, make_video, nearest_frames, plain_frames

from vidgen.data.indexing import index_source
from vidgen.data.reader import ClipReader
from vidgen.data.reasons import Reason, Rejected
from vidgen.errors import DataError
from vidgen.storage.local import LocalStore


def read_all(path: Path, **more: object) -> np.ndarray:
    """Every picture of a video, through its index."""
    store = LocalStore(path.parent)
    source = index_source(store, store.stat(path.name))
    return ClipReader(store).read(
        source,
        start_s=0,
        frames=len(source.times),
        stride=1,
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(container="mp4", codec="libx264", frames=1),
        Recipe(container="mp4", codec="libx264", size=(2, 2)),
        Recipe(container="mp4", codec="libx264", size=(98, 130)),
        Recipe(container="matroska", codec="libx264", size=(33, 57), pix_fmt="yuv444p"),
        Recipe(container="mp4", codec="libx264", pix_fmt="yuv420p10le"),
        Recipe(container="mp4", codec="libx265", pix_fmt="yuv420p10le", b_frames=3),
        Recipe(container="mov", codec="prores_ks", pix_fmt="yuv422p10le"),
        Recipe(container="avi", codec="ffv1"),
        Recipe(container="avi", codec="rawvideo"),
        Recipe(container="mov", codec="png", pix_fmt="rgb24"),
        Recipe(container="gif", codec="gif", pix_fmt="rgb8"),
        Recipe(container="nut", codec="libx264", b_frames=2),
        Recipe(container="ivf", codec="libvpx-vp9"),
        Recipe(container="asf", codec="wmv2"),
    ],
    ids=lambda r: f"{r.container}-{r.codec}-{r.size[1]}x{r.size[0]}-{r.pix_fmt}-{r.frames}",
)
def test_odd_ones_read_like_a_plain_decode(tmp_path: Path, recipe: Recipe) -> None:
    path = make_video(tmp_path / "video", recipe)
    clip = read_all(path)
    expected = np.stack([frame for _, frame in plain_frames(path)])
    assert np.array_equal(clip, expected)


@pytest.mark.parametrize(
    "name",
    ["with space.mp4", "quote'\".mp4", "new\nline.mp4", "überß中.mp4", "-dash.mp4", "a:b.mp4"],
)
def test_names(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / "video.mp4", Recipe(container="mp4", codec="libx264", frames=3))
    path.rename(tmp_path / name)
    assert len(read_all(tmp_path / name)) == 3


def test_the_frame_size_changes_on_the_way(tmp_path: Path) -> None:
    parts = [
        make_video(
            tmp_path / f"{size[0]}.ts",
            Recipe(container="mpegts", codec="libx264", size=size, frames=10, shift=shift),
        ).read_bytes()
        for size, shift in (((48, 64), 0), ((96, 128), 20))
    ]
    path = tmp_path / "both.ts"
    path.write_bytes(b"".join(parts))
    with pytest.raises(Rejected, match="size changes"):
        read_all(path)
    assert read_all(path, size=(24, 32)).shape == (20, 24, 32, 3)


def test_audio_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), "fltp", "mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(Rejected) as caught:
        read_all(path)
    assert caught.value.reason is Reason.NOT_VIDEO


@pytest.mark.parametrize(
    ("container", "codec"),
    [("mp4", "libx264"), ("matroska", "libx265"), ("webm", "libvpx-vp9"), ("avi", "mpeg4")],
)
def test_flipped_bytes_are_read_or_rejected(tmp_path: Path, container: str, codec: str) -> None:
    path = make_video(tmp_path / "video", Recipe(container=container, codec=codec))
    whole = path.read_bytes()
    rng = random.Random(codec)
    outcomes = set()
    for number in range(30):
        data = bytearray(whole)
        for _ in range(rng.choice([1, 5, 50])):
            data[rng.randrange(len(data))] = rng.randrange(256)
        if number % 5 == 0:
            del data[rng.randrange(len(data)) :]
        path.write_bytes(data)
        store = LocalStore(tmp_path)
        try:
            source = index_source(store, store.stat("video"))
            clip = ClipReader(store).read(
                source, start_s=0, frames=8, fps=Fraction(10), size=(24, 32)
            )
        except DataError as error:
            outcomes.add("rejected" if str(error) else "no reason")
        else:
            outcomes.add("read")
            assert clip.shape == (8, 24, 32, 3)
    assert outcomes == {"read", "rejected"}


def test_a_gap_in_the_clock(tmp_path: Path) -> None:
    recipe = Recipe(container="matroska", codec="libx264", gaps=(1,) * 10 + (90,))
    path = make_video(tmp_path / "video.mkv", recipe)
    store = LocalStore(tmp_path)
    source = index_source(store, store.stat(path.name))
    clip = ClipReader(store).read(source, start_s=0, frames=40, fps=10)
    frames = plain_frames(path)
    assert np.array_equal(clip, nearest_frames(frames, [Fraction(n, 10) for n in range(40)]))
