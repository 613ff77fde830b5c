"""What packets say about themselves agrees with what decoding them shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from made_video import Recipe, make_video

from vidgen.data.bitstream import Bitstream

CODECS = [
    ("libx264", "mp4"),
    ("libx264", "mpegts"),  # start codes instead of lengths
    ("libx265", "matroska"),
    ("libx265", "mpegts"),
    ("mpeg4", "mp4"),
    ("mpeg2video", "mpegts"),
    ("libvpx-vp9", "webm"),
    ("libvpx", "webm"),
    ("libsvtav1", "mp4"),
    ("h263", "3gp"),
]
B_FRAMES = {"libx264", "libx265", "mpeg4", "mpeg2video"}


def packets_of(path: Path) -> tuple[Any, list[Any]]:
    """The decoder's parameters and all packets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return stream.codec_context, [p for p in container.demux(stream) if p.size]


def made(tmp_path: Path, codec: str, container: str, **more: Any) -> Path:
    size = {"libsvtav1": (64, 64), "h263": (144, 176)}.get(codec, (48, 64))
    b_frames = 2 if codec in B_FRAMES else None
    recipe = Recipe(container=container, codec=codec, size=size, b_frames=b_frames, **more)
    return make_video(tmp_path / "video", recipe)


def decoded(codec: Any, packets: list[Any]) -> dict[int, Any]:
    """Frames by time stamp of a decoder that gets these packets alone."""
    context: Any = av.CodecContext.create(codec.codec.name, "r")
    context.extradata = codec.extradata
    context.reorder_depth = 4
    context.thread_count = 1
    found = {}
    for packet in [*packets, None]:
        for frame in context.decode(packet):
            found[frame.pts] = frame.to_ndarray(format="yuv420p")
    return found


@pytest.mark.parametrize(("codec", "container"), CODECS)
def test_decoding_starts_at_key_frames_only(tmp_path: Path, codec: str, container: str) -> None:
    context, packets = packets_of(made(tmp_path, codec, container))
    bits = Bitstream(context.codec.canonical_name, context.extradata or b"")
    starts = [bits.can_start(memoryview(bytes(packet))) for packet in packets]
    assert starts == [packet.is_keyframe for packet in packets]
    assert 1 < sum(starts) < len(starts)


@pytest.mark.parametrize(("codec", "container"), [c for c in CODECS if c[0] in B_FRAMES])
def test_nothing_changes_without_disposable_packets(
    tmp_path: Path, codec: str, container: str
) -> None:
    context, packets = packets_of(made(tmp_path, codec, container))
    bits = Bitstream(context.codec.canonical_name, context.extradata or b"")
    needed = [p for p in packets if not bits.disposable(memoryview(bytes(p)))]
    assert len(packets) * 0.3 < len(needed) < len(packets) * 0.85
    every, some = decoded(context, packets), decoded(context, needed)
    assert len(every) == len(packets)
    assert set(some) == {packet.pts for packet in needed}
    for pts, frame in some.items():
        assert (frame == every[pts]).all()


def test_an_open_group_is_a_place_to_start(tmp_path: Path) -> None:
    context, packets = packets_of(made(tmp_path, "libx264", "mp4", open_gop=True))
    bits = Bitstream("h264", context.extradata)
    keys = [packet for packet in packets if packet.is_keyframe]
    assert len(keys) >= 3
    assert all(bits.can_start(memoryview(bytes(packet))) for packet in keys)


def test_gradual_refresh_is_no_place_to_start(tmp_path: Path) -> None:
    options = {"x264-params": "keyint=12:intra-refresh=1:bframes=0:scenecut=0"}
    context, packets = packets_of(
        make_video(
            tmp_path / "video",
            Recipe(container="mp4", codec="libx264", options=options),
        )
    )
    bits = Bitstream("h264", context.extradata)
    starts = [bits.can_start(memoryview(bytes(packet))) for packet in packets]
    assert starts == [True] + [False] * (len(packets) - 1)
    assert sum(packet.is_keyframe for packet in packets) > 1  # the container says otherwise


def test_hidden_pictures_of_vp8(tmp_path: Path) -> None:
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "deadline": "good", "cpu-used": "4"}
    context, packets = packets_of(made(tmp_path, "libvpx", "webm", gop=250, options=options))
    bits = Bitstream("vp8", b"")
    hidden = sum(bits.hidden(memoryview(bytes(packet))) for packet in packets)
    assert len(packets) - hidden == len(decoded(context, packets)) == 40


@pytest.mark.parametrize("codec", ["h264", "hevc", "mpeg4", "mpeg2video", "vp8", "vp9", "av1"])
@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0\1", b"\xff" * 40, bytes(40), bytes(range(40))])
def test_noise_is_answered_too(codec: str, data: bytes) -> None:
    for extradata in (b"", b"\1", b"\1" * 30):
        bits = Bitstream(codec, extradata)
        for answer in (bits.disposable, bits.can_start, bits.hidden):
            assert answer(memoryview(data)) in (True, False)


def test_unknown_codecs_are_taken_at_their_container_word() -> None:
    bits = Bitstream("theora", b"")
    assert bits.can_start(memoryview(b"x"))
    assert not bits.disposable(memoryview(b"x"))
    assert bits.disposable(memoryview(b"x"), listed=True)
