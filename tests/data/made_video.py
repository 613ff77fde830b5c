"""Small videos with everything that makes real ones hard, and the plain way to read them."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

EXACT = (
    Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.FULL_CHR_H_INP
)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a video is made.

    Attributes:
        gaps: ticks of 1/30 s between frames, repeated; (1,) is a constant rate.
        shift: ticks added to all times; negative ones are cut off by an edit list in MP4.
        scenes: pictures that take turns, so that encoders refer further back.
    """

    container: str
    codec: str
    frames: int = 40
    gop: int = 12
    b_frames: int | None = None
    open_gop: bool = False
    gaps: tuple[int, ...] = (1,)
    shift: int = 0
    turn: int = 0
    pixel_shape: Fraction = Fraction(1)
    size: tuple[int, int] = (48, 64)
    pix_fmt: str = "yuv420p"
    scenes: int = 1
    options: dict[str, str] = field(default_factory=dict)


def make_video(path: Path, recipe: Recipe) -> Path:
    """Encode moving noise, so that every frame differs from every other."""
    height, width = recipe.size
    shape = (recipe.scenes, height, width, 3)
    scenes = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    with av.open(str(path), "w", format=recipe.container) as container:
        stream: Any = container.add_stream(recipe.codec, rate=30, options=_options(recipe))
        stream.height, stream.width = recipe.size
        stream.pix_fmt = recipe.pix_fmt
        context = stream.codec_context
        context.gop_size, context.thread_count = recipe.gop, 1
        context.time_base = Fraction(1, 30)
        if recipe.pixel_shape != 1:
            context.sample_aspect_ratio = recipe.pixel_shape
        if recipe.b_frames is not None:
            context.max_b_frames = recipe.b_frames
        if recipe.turn:
            stream.set_display_rotation(recipe.turn)
        if recipe.codec == "libsvtav1":
            _open_at_normal_priority(context)
        tick = 0
        for number in range(recipe.frames):
            array = np.roll(scenes[number % recipe.scenes], (number, 2 * number), (0, 1))
            frame = av.VideoFrame.from_ndarray(array, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, 30)
            tick += recipe.gaps[number % len(recipe.gaps)]
            for packet in stream.encode(frame):
                _mux(container, packet, recipe.shift)
        for packet in stream.encode():
            _mux(container, packet, recipe.shift)
    return path


def plain_frames(path: Path, *, size: tuple[int, int] | None = None) -> list[tuple[Fraction, Any]]:
    """(seconds after the first frame, RGB array) of every frame, decoded from the beginning.

    With `size` (H, W) frames are stretched to it before they are turned upright.
    """
    found = []
    reformatter = VideoReformatter()
    with av.open(str(path), metadata_errors="replace") as container:
        stream: Any = container.streams.best("video")
        stream.codec_context.thread_count = 1
        shape = Fraction(stream.sample_aspect_ratio or 1)
        for frame in container.decode(stream):
            height, width = frame.height, frame.width
            if shape > 1:
                width = round(width * shape)
            elif shape < 1:
                height = round(height / shape)
            turns = frame.rotation // 90 % 4  # counter-clockwise
            if size is not None:
                height, width = size[::-1] if turns % 2 else size
            halved = 2 * height <= frame.height and 2 * width <= frame.width
            array = reformatter.reformat(
                frame,
                width=width,
                height=height,
                format="rgb24",
                interpolation=(Interpolation.AREA if halved else Interpolation.BICUBIC) | EXACT,
                dst_color_range=ColorRange.JPEG,
                threads=1,
            ).to_ndarray()
            found.append((frame.pts * stream.time_base, np.rot90(array, turns)))
        if container.format.name == "avi":  # which stores no times: what comes first is shown first
            times = sorted(time for time, _ in found)
            found = [(time, array) for time, (_, array) in zip(times, found, strict=True)]
    found.sort(key=lambda pair: pair[0])
    if not found:
        return []
    return [(time - found[0][0], array) for time, array in found]


def nearest_frames(frames: list[tuple[Fraction, Any]], seconds: list[Fraction]) -> Any:
    """The frames nearest in time, the earlier one at a tie, by looking at all of them."""
    chosen = [min(frames, key=lambda pair: abs(pair[0] - at))[1] for at in seconds]
    return np.stack(chosen)


def _open_at_normal_priority(encoder: Any) -> None:
    """Open SVT-AV1 as somebody else when we are root.

    For root alone it puts itself and the calling thread into real-time scheduling, and never back:
    whatever the process starts afterwards can then starve the whole machine.
    """
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        encoder.open()
    finally:
        os.seteuid(user)
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER, "the encoder made us a real-time process"


def _mux(container: Any, packet: Any, shift: int) -> None:
    ticks = round(shift * Fraction(1, 30) / packet.time_base)
    packet.pts += ticks
    packet.dts += ticks
    container.mux(packet)


def _options(recipe: Recipe) -> dict[str, str]:
    gop = recipe.gop
    if recipe.codec == "libx265":
        gop_kind = f"keyint={gop}:min-keyint={gop}:open-gop={int(recipe.open_gop)}"
        frames = "" if recipe.b_frames is None else f":bframes={recipe.b_frames}"
        return {"x265-params": f"{gop_kind}{frames}:log-level=none:pools=none:frame-threads=1"}
    if recipe.codec == "libx264":
        given = {**recipe.options}
        params = f"cpu-independent=1:keyint={gop}:min-keyint=1:scenecut=0"
        params += f":open-gop={int(recipe.open_gop)}:{given.pop('x264-params', '')}"
        return {"x264-params": params.rstrip(":"), **given}
    if recipe.codec == "libsvtav1":
        return {"preset": "12", "svtav1-params": "lp=1", **recipe.options}
    if recipe.codec.startswith("libvpx"):
        return {"deadline": "realtime", "cpu-used": "8", **recipe.options}
    return recipe.options
