"""Videos to read: long and short, 30 or 250 frames between key frames, and the peers' formats.

Many objects are one file under many names (hard links): each name is an object of its own to a
store, and nothing is read twice, as in a large data set.
"""

from __future__ import annotations

import json
import os
import tarfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import VideoReformatter

FPS, SIZE, SEGMENT_S = 30, (720, 1280), 60
LONG_S, SHORT_S = 600, 6
LONG_OBJECTS, SHORT_OBJECTS = 24, 120
GOPS = (30, 250)
KINDS = ("long", "short")
_SHORT_PER_SHARD = 30


def make_videos(root: Path, footage: Path | None) -> Path:
    """A folder with a bucket per kind and GOP: 'long-30', 'short-250', ... Made once."""
    root = root / ("footage" if footage else "noise")
    done = root / "done"
    if done.is_file():
        return root / "s3"
    root.mkdir(parents=True, exist_ok=True)
    for gop in GOPS:
        segment = root / f"segment-{gop}.mp4"
        encode_segment(segment, gop, footage)
        for kind in KINDS:
            bucket = root / "s3" / f"{kind}-{gop}"
            if kind == "long":
                originals = [root / f"long-{gop}.mp4"]
                _remux(segment, originals[0], starts=[0] * (LONG_S // SEGMENT_S), length=SEGMENT_S)
                copies, per_shard = LONG_OBJECTS, 1
            else:
                starts = range(0, SEGMENT_S - SHORT_S, SHORT_S)
                originals = [root / f"short-{gop}-{start}.mp4" for start in starts]
                for start, path in zip(starts, originals, strict=True):
                    encode_segment(path, gop, footage, start_s=start, length=SHORT_S)
                copies, per_shard = SHORT_OBJECTS, _SHORT_PER_SHARD
            (bucket / "videos").mkdir(parents=True, exist_ok=True)
            for number in range(copies):
                _link(originals[number % len(originals)], bucket / "videos" / f"{number:05d}.mp4")
            _webdataset(bucket, originals, copies, per_shard)
            _mosaic(bucket, originals, copies, per_shard)
    done.touch()
    return root / "s3"


def encode_segment(
    path: Path, gop: int, footage: Path | None, *, start_s: int = 0, length: int = SEGMENT_S
) -> None:
    """H.264 as most people write it: libx264 with its own choice of B-frames. Once."""
    if path.is_file():
        return
    part = path.with_suffix(".part")
    with av.open(
        str(part), "w", format="mp4", container_options={"movflags": "faststart"}
    ) as container:
        options = {"preset": "veryfast", "crf": "23", "g": str(gop)}
        stream: Any = container.add_stream("libx264", rate=FPS, options=options)
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv420p"
        for number, frame in enumerate(_pictures(footage, start_s * FPS, length * FPS)):
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, FPS), 0
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    part.replace(path)


def _pictures(footage: Path | None, first: int, count: int) -> Any:
    """Frames `first` to `first + count` of all footage in a row, again and again."""
    scaler = VideoReformatter()
    at = 0
    while True:
        for frame in _footage(footage):
            if at >= first + count:
                return
            if at >= first:
                yield scaler.reformat(frame, width=SIZE[1], height=SIZE[0], format="yuv420p")
            at += 1


def _footage(folder: Path | None) -> Any:
    if folder is None:  # moving noise on a gradient: hard to predict, like leaves and water
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 64, (SIZE[0] * 2, SIZE[1] * 2, 3), dtype=np.uint8)
        for number in range(300):
            part = noise[number : number + SIZE[0], 2 * number : 2 * number + SIZE[1]]
            yield av.VideoFrame.from_ndarray(part + np.uint8(96), format="rgb24")
        return
    names = ("bee", "coffee_pour", "cups_game", "dog_trick", "football_juggle", "flower")
    for name in (*names, "highway_overtake"):
        with av.open(str(folder / f"{name}.mp4")) as container:
            yield from container.decode(video=0)


def _remux(source: Path, target: Path, *, starts: list[int], length: int) -> None:
    """The source's packets again and again, one repetition after the other."""
    with av.open(str(target), "w", container_options={"movflags": "faststart"}) as out:
        stream: Any = None
        for turn, _ in enumerate(starts):
            with av.open(str(source)) as container:
                video = container.streams.video[0]
                stream = stream or out.add_stream_from_template(video)
                shift = round(turn * length / video.time_base)
                for packet in container.demux(video):
                    if packet.size:
                        packet.pts += shift
                        packet.dts += shift
                        packet.stream = stream
                        out.mux(packet)


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    os.link(source, target)


def _webdataset(bucket: Path, originals: list[Path], copies: int, per_shard: int) -> None:
    """Tar files of whole videos."""
    folder = bucket / "webdataset"
    folder.mkdir(exist_ok=True)
    shards = copies // per_shard
    for number in range(shards):
        path = folder / f"{number:05d}.tar"
        if number == 0:
            with tarfile.open(path, "w") as tar:
                for member in range(per_shard):
                    original = originals[member % len(originals)]
                    tar.add(original, arcname=f"{member:05d}.mp4")
        else:
            _link(folder / "00000.tar", path)


def _mosaic(bucket: Path, originals: list[Path], copies: int, per_shard: int) -> None:
    """Shards of whole videos, written by the library itself."""
    from readers import import_streaming

    folder = bucket / "mosaic"
    if not (folder / "index.json").is_file():
        streaming = import_streaming()
        with streaming.base.MDSWriter(
            out=str(folder), columns={"video": "bytes"}, size_limit=None
        ) as writer:
            for member in range(per_shard):
                writer.write({"video": originals[member % len(originals)].read_bytes()})
    index = json.loads((folder / "index.json").read_text())
    (shard,) = index["shards"][:1]
    index["shards"] = []
    for number in range(copies // per_shard):
        name = f"shard.{number:05d}.mds"
        if number:
            _link(folder / "shard.00000.mds", folder / name)
        index["shards"].append({**shard, "raw_data": {**shard["raw_data"], "basename": name}})
    (folder / "index.json").write_text(json.dumps(index))
