"""Clips read by range equal a plain decode from the beginning, pixel for pixel."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_video import Recipe, make_video, nearest_frames, plain_frames

from vidgen.data.bitstream import Bitstream
from vidgen.data.indexing import index_source
from vidgen.data.packets import KEY, Source
from vidgen.data.plan import MERGE_GAP, byte_spans, runs
from vidgen.data.reader import ClipReader
from vidgen.data.reasons import Reason, Rejected
from vidgen.errors import DataError, StorageError
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store

Frames = list[tuple[Fraction, Any]]


def indexed(path: Path) -> tuple[LocalStore, Source]:
    store = LocalStore(path.parent)
    return store, index_source(store, store.stat(path.name))


def expected_by_stride(frames: Frames, start_s: float, count: int, stride: int) -> Any:
    at = Fraction(start_s).limit_denominator(1_000_000)
    first = min(range(len(frames)), key=lambda index: abs(frames[index][0] - at))
    return np.stack([frames[first + stride * index][1] for index in range(count)])


def check_draws(
    reader: ClipReader,
    source: Source,
    frames: Frames,
    *,
    draws: int,
    rng: random.Random,
    size: tuple[int, int] | None = None,
) -> None:
    """Random clips by stride and by rate against the plain decode."""
    end = float(frames[-1][0])
    for _ in range(draws):
        stride = rng.choice([1, 1, 2, 3, 5])
        count = rng.randint(1, max(1, min(16, (len(frames) - 1) // stride)))
        latest = frames[len(frames) - 1 - stride * (count - 1)][0]
        start = rng.uniform(0, float(latest))
        clip = reader.read(
            source, start_s=start, frames=count, stride=stride, size=size, fit="stretch"
        )
        expected = expected_by_stride(frames, start, count, stride)
        assert np.array_equal(clip, expected), (source.key, start, count, stride)

        fps = Fraction(rng.choice([5, 8, 12, 24, 25, 30, 50]))
        count = rng.randint(1, max(1, min(12, int(end * fps))))
        start = round(rng.uniform(0, max(0.0, end - (count - 1) / float(fps))), 4)
        clip = reader.read(source, start_s=start, frames=count, fps=fps, size=size, fit="stretch")
        origin = Fraction(start).limit_denominator(1_000_000)
        expected = nearest_frames(frames, [origin + index / fps for index in range(count)])
        assert np.array_equal(clip, expected), (source.key, start, count, fps)


def check_real_clip(path: Path, *, draws: int, size: tuple[int, int]) -> None:
    store, source = indexed(path)
    frames = plain_frames(path, size=size)
    check_draws(
        ClipReader(store), source, frames, draws=draws, rng=random.Random(path.name), size=size
    )


def test_real_clip_equals_a_plain_decode(real_clip: Path) -> None:
    check_real_clip(real_clip, draws=1, size=(36, 48))


@pytest.mark.slow
def test_real_clip_equals_a_plain_decode_200_times(real_clip: Path) -> None:
    check_real_clip(real_clip, draws=200, size=(90, 120))


FORMATS = [
    ("mp4", "libx264"),
    ("mov", "libx264"),
    ("matroska", "libx264"),
    ("avi", "libx264"),
    ("flv", "libx264"),
    ("mpegts", "libx264"),
    ("mp4", "libx265"),
    ("matroska", "libx265"),
    ("webm", "libvpx-vp9"),
    ("mp4", "libvpx-vp9"),
    ("webm", "libvpx"),
    ("mp4", "libsvtav1"),
    ("webm", "libsvtav1"),
    ("mp4", "mpeg4"),
    ("avi", "mpeg4"),
    ("matroska", "mpeg4"),
    ("mpegts", "mpeg2video"),
    ("mov", "mjpeg"),
]


@st.composite
def recipes(draw: st.DrawFn, formats: list[tuple[str, str]] = FORMATS) -> Recipe:
    container, codec = draw(st.sampled_from(formats))
    has_b_frames = codec in ("libx264", "libx265", "mpeg4", "mpeg2video")
    iso = container in ("mp4", "mov")
    steady = container == "avi" or codec in ("mpeg4", "mpeg2video", "libsvtav1")
    size = draw(st.sampled_from([(48, 64), (66, 50)]))
    fewest = 3 if codec == "libx265" else 1  # it gives shorter videos random decoding times
    return Recipe(
        container=container,
        codec=codec,
        frames=draw(st.integers(fewest, 40)),
        gop=draw(st.sampled_from([1, 7, 12, 250])),
        b_frames=draw(st.integers(0, 4)) if has_b_frames else None,
        open_gop=draw(st.booleans()),
        gaps=(1,) if steady else draw(st.sampled_from([(1,), (2,), (1, 2, 1, 5), (3, 1, 1)])),
        shift=draw(st.sampled_from([0, 0, -5, 9])) if iso else 0,
        turn=draw(st.sampled_from([0, 0, 90, 180, 270])) if iso else 0,
        pixel_shape=draw(st.sampled_from([Fraction(1), Fraction(4, 3), Fraction(3, 4)])),
        size=(64, 64) if codec == "libsvtav1" else size,
        pix_fmt="yuvj420p" if codec == "mjpeg" else "yuv420p",
    )


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(recipe=recipes(), seed=st.integers(0, 2**32))
def test_made_videos_equal_a_plain_decode(tmp_path: Path, recipe: Recipe, seed: int) -> None:
    check_recipe(make_video(tmp_path / "video", recipe), draws=2, rng=random.Random(seed))


@pytest.mark.slow
@pytest.mark.parametrize("format", FORMATS, ids="-".join)
def test_many_made_videos_equal_a_plain_decode(tmp_path: Path, format: tuple[str, str]) -> None:
    """A thousand videos over all formats."""

    @settings(max_examples=56, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(recipe=recipes([format]), seed=st.integers(0, 2**32))
    def check(recipe: Recipe, seed: int) -> None:
        check_recipe(make_video(tmp_path / "video", recipe), draws=8, rng=random.Random(seed))

    check()


def check_recipe(path: Path, *, draws: int, rng: random.Random) -> None:
    frames = plain_frames(path)
    if not frames:  # its edit list cuts every picture off
        with pytest.raises(Rejected) as caught:
            indexed(path)
        assert caught.value.reason is Reason.CORRUPT
        return
    store, source = indexed(path)
    check_draws(ClipReader(store), source, frames, draws=draws, rng=rng)


@pytest.fixture(scope="module")
def b_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four groups of pictures with B-frames."""
    folder = tmp_path_factory.mktemp("videos")
    return make_video(folder / "b.mp4", Recipe(container="mp4", codec="libx264", b_frames=3))


def test_one_request_for_exactly_the_needed_bytes(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    reader = ClipReader(store)
    reader.read(source, start_s=14 / 30, frames=4, stride=2)  # pictures 14 to 20: the second group
    assert reader.stats.requests == 1
    packets = source.packets
    keys = np.flatnonzero(packets.flags & KEY)
    group = slice(int(keys[1]), int(keys[2]))
    assert reader.stats.fetched <= int(packets.size[group].sum())


def test_where_following_references_fails_the_whole_run_is_decoded(
    b_frames: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, source = indexed(b_frames)
    clip: dict[str, Any] = {"start_s": 14 / 30, "frames": 4, "stride": 2}
    expected = ClipReader(store).read(source, **clip)

    def misled(self: Bitstream, packets: Any, listed: Any, asked: set[int]) -> Any:
        return {0, *sorted(asked)[:-1]}, True  # no references at all, and one too few

    monkeypatch.setattr(Bitstream, "needed", misled)
    assert np.array_equal(ClipReader(store).read(source, **clip), expected)


def test_what_was_fetched_before_is_not_fetched_again(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    reader = ClipReader(store)
    fetched = reader.fetch(source, start_s=14 / 30, frames=4, stride=2)
    before = replace(reader.stats)
    clip = reader.read(source, start_s=14 / 30, frames=4, stride=2, fetched=fetched)
    assert (reader.stats.requests, reader.stats.fetched) == (before.requests, before.fetched)
    assert before.requests == 1
    assert np.array_equal(clip, reader.read(source, start_s=14 / 30, frames=4, stride=2))
    assert reader.stats.requests == 2


def test_av1_units_that_hold_more_than_they_show(tmp_path: Path) -> None:
    recipe = Recipe(container="mp4", codec="libsvtav1", frames=5, gop=7, size=(64, 64))
    path = make_video(tmp_path / "video.mp4", recipe)
    store, source = indexed(path)
    frames = plain_frames(path)
    for number in range(5):
        clip = ClipReader(store).read(source, start_s=number / 30, frames=1, stride=1)
        assert np.array_equal(clip[0], frames[number][1]), number


def test_pictures_that_nothing_needs_are_not_decoded(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    frames = plain_frames(b_frames)
    clips = []
    for skip in (True, False):
        reader = ClipReader(store, skip_disposable=skip)
        clips.append(reader.read(source, start_s=0, frames=10, stride=4))
        if skip:
            assert reader.stats.passed_by >= 5
        else:
            assert reader.stats.passed_by == 0
    assert np.array_equal(clips[0], clips[1])
    assert np.array_equal(clips[0], expected_by_stride(frames, 0, 10, 4))


@pytest.mark.parametrize("skip", ["noref", "all"])
def test_leaving_out_the_loop_filter_changes_little(b_frames: Path, skip: Any) -> None:
    store, source = indexed(b_frames)
    exact = ClipReader(store).read(source, start_s=0, frames=20, stride=2)
    quick = ClipReader(store, skip_loop_filter=skip).read(source, start_s=0, frames=20, stride=2)
    difference = np.abs(exact.astype(int) - quick)
    assert difference.mean() < 8


def test_a_key_flag_that_lies_is_found_out(b_frames: Path, tmp_path: Path) -> None:
    """Writers that mark every sample as a sync sample are common."""
    data = bytearray(b_frames.read_bytes())
    at = data.index(b"stss")
    data[at : at + 4] = b"free"  # without the table every sample counts as one
    path = tmp_path / "lying.mp4"
    path.write_bytes(data)
    store, source = indexed(path)
    assert (source.packets.flags & KEY).all()
    reader = ClipReader(store)
    check_draws(reader, source, plain_frames(path), draws=5, rng=random.Random(0))


def test_a_packet_without_a_picture_is_passed_over(tmp_path: Path) -> None:
    """VP8 in MP4-like containers does not tell pictures that are only referred to."""
    recipe = Recipe(
        container="webm",
        codec="libvpx",
        frames=40,
        gop=250,
        options={"deadline": "good", "cpu-used": "4", "auto-alt-ref": "1", "lag-in-frames": "20"},
    )
    path = make_video(tmp_path / "video.webm", recipe)
    store, source = indexed(path)
    frames = plain_frames(path)
    assert len(source.times) == len(frames)
    shown = source.packets.flags.copy()
    shown &= KEY  # as if the index did not know
    object.__setattr__(source.packets, "flags", shown)
    check_draws(ClipReader(store), source, frames, draws=6, rng=random.Random(3))


def test_past_the_end(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    reader = ClipReader(store)
    with pytest.raises(DataError, match="outside the video"):
        reader.read(source, start_s=1.0, frames=16, stride=1)
    with pytest.raises(DataError, match="outside the video"):
        reader.read(source, start_s=1.0, frames=16, fps=16)
    with pytest.raises(DataError, match="outside the video"):
        reader.read(source, start_s=-0.5, frames=2, fps=16)
    assert reader.read(source, start_s=0.0, frames=40, stride=1).shape == (40, 48, 64, 3)


def test_sizes(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    reader = ClipReader(store)
    for size, fit in [((24, 24), "crop"), ((31, 57), "crop"), ((96, 96), "stretch")]:
        clip = reader.read(source, start_s=0, frames=2, fps=8, size=size, fit=fit)  # type: ignore[arg-type]
        assert clip.shape == (2, *size, 3)
    cut = reader.read(source, start_s=0, frames=1, fps=8, size=(48, 32))
    whole = reader.read(source, start_s=0, frames=1, fps=8)
    assert np.array_equal(cut, whole[:, :, 16:48])


def test_a_damaged_video_is_rejected(b_frames: Path, tmp_path: Path) -> None:
    store, source = indexed(b_frames)
    data = bytearray(b_frames.read_bytes())
    packets = source.packets
    for row in range(14, 20):
        at = int(packets.offset[row])
        data[at : at + int(packets.size[row])] = bytes(int(packets.size[row]))
    path = tmp_path / "damaged.mp4"
    path.write_bytes(data)
    store, source = indexed(path)
    with pytest.raises(Rejected) as caught:
        ClipReader(store).read(source, start_s=13 / 30, frames=10, stride=1)
    assert caught.value.reason is Reason.CORRUPT


def test_large_frames_are_refused(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    with pytest.raises((Rejected, DataError)):
        ClipReader(store, max_pixels=100).read(source, start_s=0, frames=1, stride=1)


def test_a_changed_object_is_noticed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mp4", Recipe(container="mp4", codec="libx264"))
    store, source = indexed(path)
    path.write_bytes(path.read_bytes())
    with pytest.raises(StorageError, match="changed"):
        ClipReader(store).read(source, start_s=0, frames=2, stride=1)


def test_readers_travel_to_other_processes(b_frames: Path) -> None:
    store, source = indexed(b_frames)
    reader = ClipReader(store, skip_loop_filter="noref")
    clip = reader.read(source, start_s=0, frames=4, stride=3)
    other = pickle.loads(pickle.dumps(reader))
    assert other.stats.clips == 0
    assert np.array_equal(other.read(source, start_s=0, frames=4, stride=3), clip)


def test_from_s3(b_frames: Path, s3_bucket: str) -> None:
    remote = open_store(s3_bucket)
    remote.write("videos/b.mp4", b_frames)
    source = index_source(remote, remote.stat("videos/b.mp4"))
    check_draws(ClipReader(remote), source, plain_frames(b_frames), draws=3, rng=random.Random(5))


def test_spans_are_merged_when_close(b_frames: Path) -> None:
    _, source = indexed(b_frames)
    packets = source.packets
    chosen = runs(packets, packets.shown[[0, 30]])
    assert len(chosen) == 2
    spans = byte_spans(packets, chosen, gap=0)
    assert len(spans) == 2
    assert byte_spans(packets, chosen, gap=MERGE_GAP) == [(spans[0][0], spans[1][1])]
