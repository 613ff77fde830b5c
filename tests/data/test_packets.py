"""The packet index says what a full demux says, and comes back unchanged from Parquet."""

from __future__ import annotations

import io
import os
from pathlib import Path

import av
import numpy as np
import pytest
from made_video import Recipe, make_video

from vidgen.data.index_file import PacketIndex, encode_index, file_name, write_index
from vidgen.data.indexing import index_file, index_source
from vidgen.data.packets import DISPOSABLE, HIDDEN, KEY
from vidgen.data.ranges import BLOCK, RangeFile
from vidgen.data.reasons import Reason, Rejected
from vidgen.errors import DataError, NotFoundInStore, StorageError
from vidgen.storage.local import LocalStore
from vidgen.storage.open import open_store


def demuxed(path: Path) -> list[tuple[int, int, bool, bool]]:
    """(pts, size, key, cut off by an edit list) of every packet, as PyAV gives them."""
    with av.open(str(path), metadata_errors="replace") as container:
        stream = container.streams.best("video")
        return [
            (packet.pts, packet.size, packet.is_keyframe, packet.is_discard)
            for packet in container.demux(stream)
            if packet.size
        ]


def test_real_file_is_indexed_as_a_full_demux_sees_it(real_clip: Path) -> None:
    store = LocalStore(real_clip.parent)
    packets = index_source(store, store.stat(real_clip.name)).packets
    rows = [
        (int(pts), int(size), bool(flags & KEY))
        for pts, size, flags in zip(packets.pts, packets.size, packets.flags, strict=True)
    ]
    expected = demuxed(real_clip)
    assert rows == [row[:3] for row in expected]
    cut_off = np.array([row[3] for row in expected])
    assert (packets.flags[cut_off] & HIDDEN).all()


def test_every_packet_lies_where_the_index_says(real_clip: Path) -> None:
    store = LocalStore(real_clip.parent)
    source = index_source(store, store.stat(real_clip.name))
    assert source.verbatim
    data = real_clip.read_bytes()
    with av.open(str(real_clip), metadata_errors="replace") as container:
        packets = (p for p in container.demux(container.streams.best("video")) if p.size)
        for row, packet in enumerate(packets):
            at = int(source.packets.offset[row])
            assert data[at : at + packet.size] == bytes(packet), row


def test_facts_of_known_files(real_clips: Path) -> None:
    store = LocalStore(real_clips)

    def source(name: str):  # type: ignore[no-untyped-def]
        return index_source(store, store.stat(name))

    turned = source("facade_hlg_rot90.mp4")
    assert (turned.turns, turned.displayed) == (1, (1920, 1080))
    assert np.count_nonzero(turned.packets.flags & HIDDEN) == 9  # its edit list starts later
    assert len(turned.times) == 77
    assert source("car_window_vfr.3gp").displayed == (144, 192)  # pixels of 12:11
    water = source("stream_of_water.webm")  # VP8 with five pictures that are only referred to
    assert not water.sparse
    assert (len(water.packets), len(water.times)) == (95, 90)
    assert source("bee.mp4").codec.name == "h264"
    assert source("people_at_table.mp4").duration_s == pytest.approx(139.4, abs=0.01)


def test_tables_of_an_mp4_are_read_without_its_media(tmp_path: Path) -> None:
    # Uncompressible pictures at a high rate: the media outweigh the tables by far.
    recipe = Recipe(
        container="mp4", codec="mpeg4", frames=60, size=(480, 640), options={"b": "20000000"}
    )
    path = make_video(tmp_path / "large.mp4", recipe)
    store = LocalStore(tmp_path)
    file = RangeFile(store, store.stat("large.mp4"))
    source = index_file(file)
    assert source.sparse
    assert len(source.packets) == 60
    assert path.stat().st_size > 2_000_000
    assert file.fetched < path.stat().st_size / 3
    assert file.requests <= 6


@pytest.mark.parametrize(
    ("container", "codec", "verbatim"),
    [
        ("mp4", "libx264", True),
        ("mov", "mpeg4", True),
        ("matroska", "libx264", True),
        ("webm", "libvpx-vp9", True),
        ("avi", "mpeg4", True),
        ("flv", "libx264", True),
        ("mpegts", "libx264", False),
        ("mpeg", "mpeg2video", False),
    ],
)
def test_containers(tmp_path: Path, container: str, codec: str, verbatim: bool) -> None:
    path = make_video(tmp_path / "video", Recipe(container=container, codec=codec))
    store = LocalStore(tmp_path)
    source = index_source(store, store.stat("video"))
    assert source.verbatim is verbatim
    assert source.sparse is (container in ("mp4", "mov"))
    assert [int(p) for p in source.packets.pts] == [row[0] for row in demuxed(path)]
    assert len(source.times) == 40


def test_fragmented_mp4(tmp_path: Path) -> None:
    recipe = Recipe(container="mp4", codec="libx264", b_frames=2)
    whole, parts = make_video(tmp_path / "whole.mp4", recipe), tmp_path / "parts.mp4"
    with (
        av.open(str(whole)) as source,
        av.open(
            str(parts), "w", container_options={"movflags": "frag_keyframe+empty_moov"}
        ) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    store = LocalStore(tmp_path)
    packets = index_source(store, store.stat("parts.mp4")).packets
    assert [int(p) for p in packets.pts] == [row[0] for row in demuxed(parts)]
    assert np.count_nonzero(packets.flags & KEY) >= 3


def test_disposable_pictures_are_known_where_the_media_is_read(tmp_path: Path) -> None:
    recipe = Recipe(container="matroska", codec="libx264", b_frames=2)
    make_video(tmp_path / "video.mkv", recipe)
    store = LocalStore(tmp_path)
    flags = index_source(store, store.stat("video.mkv")).packets.flags
    assert 10 <= np.count_nonzero(flags & DISPOSABLE) <= 30
    assert not (flags[(flags & KEY) > 0] & DISPOSABLE).any()


def test_avi_with_b_frames_gets_its_display_order(tmp_path: Path) -> None:
    recipe = Recipe(container="avi", codec="libx264", b_frames=3)
    make_video(tmp_path / "video.avi", recipe)
    store = LocalStore(tmp_path)
    packets = index_source(store, store.stat("video.avi")).packets
    assert packets.reorder_depth() > 0
    assert (np.diff(packets.pts[packets.shown]) == 1).all()


def test_parquet_gives_back_what_it_got(tmp_path: Path) -> None:
    for number, (container, codec) in enumerate(
        [("mp4", "libx264"), ("matroska", "libx265"), ("mpegts", "libx264")]
    ):
        recipe = Recipe(container=container, codec=codec, turn=90 if number == 0 else 0)
        make_video(tmp_path / f"{number}", recipe)
    store = LocalStore(tmp_path)
    sources = [index_source(store, stat) for stat in store.list()]
    out = LocalStore(tmp_path / "out")
    assert write_index(out, sources * 400) == 1200  # two files
    index = PacketIndex(out)
    for number in (0, 1, 2, 1022, 1023, 1024, 1199):
        expected, found = sources[number % 3], index[number]
        assert (found.key, found.etag, found.codec) == (
            expected.key,
            expected.etag,
            expected.codec,
        )
        assert (found.tick, found.turns, found.verbatim) == (
            expected.tick,
            expected.turns,
            expected.verbatim,
        )
        for name in ("pts", "offset", "size", "flags"):
            assert np.array_equal(getattr(found.packets, name), getattr(expected.packets, name))
    with pytest.raises(DataError, match="no source 1200"):
        index[1200]
    with pytest.raises(NotFoundInStore):
        index[5000]
    assert encode_index(sources) == encode_index(sources)


def test_parquet_is_compact(real_clips: Path) -> None:
    store = LocalStore(real_clips)
    source = index_source(store, store.stat("people_at_table.mp4"))
    alone, many = len(encode_index([source])), len(encode_index([source] * 50))
    per_packet = (many - alone) / 49 / len(source.packets)
    assert per_packet < 5  # bytes; 21 uncompressed


def test_a_damaged_index_is_one_clear_error(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.write(file_name(0), b"PAR1 not really")
    with pytest.raises(DataError, match=r"00000\.parquet is damaged"):
        PacketIndex(store)[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", Reason.EMPTY_FILE),
        (b"plain text, whatever its name\n" * 50, Reason.NOT_VIDEO),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", Reason.NOT_VIDEO),
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n", Reason.NOT_VIDEO),
    ],
)
def test_what_is_no_video_is_rejected(tmp_path: Path, data: bytes, reason: Reason) -> None:
    (tmp_path / "odd.mp4").write_bytes(data)
    store = LocalStore(tmp_path)
    with pytest.raises(Rejected) as caught:
        index_source(store, store.stat("odd.mp4"))
    assert caught.value.reason is reason


def test_a_cut_off_file_is_indexed_up_to_the_cut(tmp_path: Path) -> None:
    recipe = Recipe(container="mp4", codec="libx264")
    path = make_video(tmp_path / "video.mp4", recipe)
    moov_first = tmp_path / "front.mp4"
    with (
        av.open(str(path)) as source,
        av.open(str(moov_first), "w", container_options={"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                target.mux(packet)
    data = moov_first.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 2 // 3])
    (tmp_path / "headless.mp4").write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    store = LocalStore(tmp_path)
    packets = index_source(store, store.stat("cut.mp4")).packets
    assert 10 < len(packets) < 40
    assert int((packets.offset + packets.size).max()) <= store.stat("cut.mp4").size
    with pytest.raises(Rejected):
        index_source(store, store.stat("headless.mp4"))


def test_large_frames_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    make_video(tmp_path / "video.mp4", Recipe(container="mp4", codec="libx264"))
    store = LocalStore(tmp_path)
    with pytest.raises(Rejected) as caught:
        index_source(store, store.stat("video.mp4"), max_pixels=1000)
    assert caught.value.reason is Reason.TOO_MANY_PIXELS


def test_from_s3(tmp_path: Path, s3_bucket: str) -> None:
    path = make_video(tmp_path / "video.mp4", Recipe(container="mp4", codec="libx264"))
    remote = open_store(s3_bucket)
    remote.write("a video.mp4", path)
    here = LocalStore(tmp_path)
    expected = index_source(here, here.stat("video.mp4"))
    found = index_source(remote, remote.stat("a video.mp4"))
    assert np.array_equal(found.packets.offset, expected.packets.offset)
    assert found.codec == expected.codec


def test_range_file_reads_like_a_file(tmp_path: Path) -> None:
    data = os.urandom(BLOCK * 5 + 123)
    (tmp_path / "bytes").write_bytes(data)
    store = LocalStore(tmp_path)
    file, plain = RangeFile(store, store.stat("bytes")), io.BytesIO(data)
    rng = np.random.default_rng(1)
    for _ in range(300):
        at, length = int(rng.integers(0, len(data) + 10)), int(rng.integers(0, BLOCK * 2))
        plain.seek(at)
        assert file.peek(at, length) == plain.read(length)
        file.seek(at)
        part = file.read(length)
        assert part == data[at : at + len(part)]
        assert part or length == 0 or at >= len(data)
    assert file.fetched <= 2 * len(data)  # blocks stay in memory
    file.blank([(10, 20), (BLOCK, BLOCK + 5)])
    file.seek(8)
    whole = b"".join(iter(lambda: file.read(BLOCK), b""))
    expected = bytearray(data[8:])
    expected[2:12] = bytes(10)
    expected[BLOCK - 8 : BLOCK - 3] = bytes(5)
    assert whole == bytes(expected)
    assert file.peek(10, 10) == data[10:20]


def test_an_object_that_changes_is_noticed(tmp_path: Path) -> None:
    path = make_video(tmp_path / "video.mkv", Recipe(container="matroska", codec="libx264"))
    store = LocalStore(tmp_path)
    stat = store.stat("video.mkv")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(StorageError, match="changed"):
        index_source(store, stat)
