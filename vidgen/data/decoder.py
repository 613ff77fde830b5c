"""Decoders that packets go into as they are: no container is opened and nothing is probed."""

from __future__ import annotations

from typing import Any

import av

from vidgen.data.packets import Codec
from vidgen.errors import DataError


def open_decoder(codec: Codec, options: dict[str, str]) -> Any:
    """A decoder that needs no container. Raises DataError if this FFmpeg has none."""
    try:
        context: Any = av.CodecContext.create(codec.decoder, "r")
    except av.error.FFmpegError:
        try:  # an index made by another build of FFmpeg
            context = av.CodecContext.create(codec.name, "r")
        except av.error.FFmpegError:
            raise DataError(
                f"this FFmpeg has no decoder for {codec.name}",
                fix="Install another build of PyAV, or prepare the data set again with it.",
            ) from None
    context.extradata = codec.extradata or None
    context.codec_tag = codec.tag
    context.width, context.height = codec.width, codec.height
    if codec.pix_fmt:
        context.pix_fmt = codec.pix_fmt
    context.bits_per_coded_sample = codec.bits
    context.color_range, context.colorspace = codec.color_range, codec.colorspace
    context.color_primaries, context.color_trc = codec.primaries, codec.transfer
    context.reorder_depth = codec.reorder
    context.thread_count = 1  # parallel over clips, not inside one
    context.options = options
    return context
