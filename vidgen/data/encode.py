"""Frames to video files."""

from __future__ import annotations

import io
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from vidgen.data.picture import EXACT, Frames


def encode_mp4(
    frames: Frames, fps: float | Fraction, *, crf: int = 18, keyframe_every: int = 12
) -> bytes:
    """(T, H, W, 3) uint8 RGB as an H.264 MP4 that browsers play. Equal input gives equal bytes
    on every processor.

    4:2:0 video has even sides: odd ones grow by repeating their last row or column.
    """
    frames = np.ascontiguousarray(frames)
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or not frames.size:
        raise ValueError(f"frames must be (T, H, W, 3) uint8, got {frames.shape} {frames.dtype}")
    height, width = frames.shape[1:3]
    frames = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    rate = Fraction(fps).limit_denominator(100_000)
    file = io.BytesIO()
    # bitexact: no FFmpeg version string in the file.
    exact = {"fflags": "+bitexact"}
    # Without cpu-independent x264 goes by what the processor is, and with AVX-512 now and then by
    # what memory held before.
    options = {
        "crf": str(crf),
        "preset": "veryfast",
        "flags": "+bitexact",
        "x264-params": "cpu-independent=1",
    }
    with av.open(file, "w", format="mp4", container_options=exact) as container:
        stream: Any = container.add_stream("libx264", rate=rate, options=options)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        context = stream.codec_context
        context.thread_count = 1
        context.gop_size = keyframe_every
        context.max_b_frames = 0
        context.colorspace, context.color_range = Colorspace.ITU709, ColorRange.MPEG
        context.color_primaries = context.color_trc = 1  # BT.709
        scaler = VideoReformatter()
        for index, array in enumerate(frames):
            frame = scaler.reformat(
                av.VideoFrame.from_ndarray(array, format="rgb24"),
                format="yuv420p",
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=Interpolation.BICUBIC | EXACT,
                threads=1,
            )
            frame.pts, frame.time_base = index, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file.getvalue()


def write_mp4(
    path: Path, frames: Frames, fps: float | Fraction, *, crf: int = 18, keyframe_every: int = 12
) -> None:
    """`encode_mp4` into a file, whole or not at all."""
    from vidgen.storage.local import LocalStore

    data = encode_mp4(frames, fps, crf=crf, keyframe_every=keyframe_every)
    LocalStore(path.parent).write(path.name, data)
