"""Opening containers: only formats that hold their own media, only sizes that can be decoded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import av

from vidgen.data.reasons import Reason, Rejected

MAX_PIXELS = 8192 * 4320

# Playlists and scripts (concat, hls, dash, image2) are not here: they name other files to open.
FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,flv,mpeg,mpegts,mpegvideo,ogg,mxf,nut,ivf,gif"
)


@contextmanager
def open_demuxer(
    source: Any, shown: str, *, max_pixels: int = MAX_PIXELS, tables_only: bool = False
) -> Iterator[tuple[Any, Any]]:
    """(container, video stream) of a path or a readable, seekable object.

    `tables_only`: packets come as the container's tables list them; their data is not looked at.
    Raises Rejected: not_video, too_many_pixels; no frame is decoded before.
    """
    options = {
        "format_whitelist": FORMATS,
        "protocol_whitelist": "file",
        "max_pixels": str(max_pixels),
    }
    if tables_only:
        options |= {"fflags": "noparse+nofillin", "probesize": "32", "analyzeduration": "0"}
    if not isinstance(source, str):
        source.seek(0)
    try:
        container = av.open(source, "r", options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        # FFmpeg gives the same few codes for text, playlists and cut-off headers.
        message = getattr(error, "strerror", None) or str(error)
        raise Rejected(Reason.NOT_VIDEO, f"{shown}: {message}") from None
    with container:
        stream = _video_stream(container, shown)
        context = stream.codec_context
        width, height = context.width, context.height
        if not width * height:  # probing clears sizes over the limit
            width, height = _declared_size(source)
        if width * height > max_pixels:
            size = f"{width}x{height}"
            raise Rejected(Reason.TOO_MANY_PIXELS, f"{shown}: {size} is over {max_pixels} pixels")
        context.thread_count = 1  # parallel over files, not inside one
        context.options = {
            "max_pixels": str(max_pixels)
        }  # the stream may be larger than its header
        yield container, stream


def _declared_size(source: Any) -> tuple[int, int]:
    """(width, height) in the container's header, without a look at the media; (0, 0) if none."""
    at = None if isinstance(source, str) else source.tell()
    if at is not None:
        source.seek(0)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file", "max_pixels": str(2**31)}
    options |= {"fflags": "noparse+nofillin", "probesize": "32", "analyzeduration": "0"}
    try:
        with av.open(source, "r", options=options, metadata_errors="replace") as container:
            context = container.streams.video[0].codec_context
            return context.width, context.height
    except (av.error.FFmpegError, ValueError):
        return 0, 0
    finally:
        if at is not None:
            source.seek(at)


def _video_stream(container: Any, shown: str) -> Any:
    """The main video stream; cover pictures do not count."""
    covers = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & covers]
    if not streams:
        raise Rejected(Reason.NOT_VIDEO, f"{shown}: no video stream")
    best = container.streams.best("video")
    stream = best if best in streams else streams[0]
    if stream.codec_context is None:
        raise Rejected(Reason.NOT_VIDEO, f"{shown}: no decoder for its video stream")
    return stream
