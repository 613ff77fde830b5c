"""Making the packet index of a video, once per source file.

Containers of the MP4 family keep tables of their samples apart from the media. libavformat reads
those tables, edit lists included, while zeros answer its requests for media bytes: so times,
offsets and flags are exactly those of a full read, for a few hundred kilobytes. In all other
containers the packets lie between their own headers, and the file is read to the end.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from typing import Any

import av
import numpy as np

from vidgen.data.bitstream import Bitstream
from vidgen.data.demux import MAX_PIXELS, open_demuxer
from vidgen.data.packets import DISPOSABLE, HIDDEN, KEY, Codec, Packets, Source
from vidgen.data.ranges import RangeFile
from vidgen.data.reasons import Reason, Rejected
from vidgen.storage.base import Stat, Store

_MAX_HEADER = 64  # bytes between where a demuxer says a packet is and where its data starts
_PROBED = 200  # packets tried until one picture decodes
_CHANGES = ("new_extradata", "param_change", "palette")
_ENCRYPTION = ("encryption_init_info", "encryption_info")


def index_source(store: Store, stat: Stat, *, max_pixels: int = MAX_PIXELS) -> Source:
    """Index one video. Raises Rejected with its reason, StorageError."""
    if stat.size == 0:
        raise Rejected(Reason.EMPTY_FILE, f"{store.where(stat.key)} has no bytes")
    return index_file(RangeFile(store, stat), max_pixels=max_pixels)


def index_file(file: RangeFile, *, max_pixels: int = MAX_PIXELS) -> Source:
    """`index_source` of an open file, which then tells what was fetched."""
    stat, shown = file.stat, file.name
    with open_demuxer(file, shown, max_pixels=max_pixels) as (container, stream):
        container_name, number = container.format.name, stream.index
        tick, shape = Fraction(stream.time_base), Fraction(stream.sample_aspect_ratio or 1)
        codec = _codec(stream)
        turns = _turns(container, stream, shown)
    sparse = "mp4" in container_name.split(",")
    if sparse:
        file.blank(_media_spans(file))
        with open_demuxer(file, shown, max_pixels=max_pixels, tables_only=True) as (container, _):
            packets, verbatim = _listed(container, number, stat.size, shown), True
    else:
        with open_demuxer(file, shown, max_pixels=max_pixels) as (container, _):
            packets, verbatim = _read(container, number, file, codec)
        if container_name == "avi" and packets.reorder_depth() == 0 < codec.reorder:
            with open_demuxer(file, shown, max_pixels=max_pixels) as (container, _):
                packets = _in_display_order(container, number, packets, shown)
    if not len(packets.shown):
        raise Rejected(Reason.CORRUPT, f"{shown}: no picture in its video stream")
    # Probing saw the first pictures only; a decoder that learns of deeper reordering drops some.
    depth = min(16, max(codec.reorder, packets.reorder_depth()))
    return Source(
        key=stat.key,
        size=stat.size,
        etag=stat.etag,
        container=container_name,
        sparse=sparse,
        verbatim=verbatim,
        codec=replace(codec, reorder=depth),
        packets=packets,
        tick=tick,
        pixel_shape=shape if Fraction(1, 16) < shape < 16 else Fraction(1),
        turns=turns,
    )


def _codec(stream: Any) -> Codec:
    """Parameters as probing found them; asked for before the decoder opens and changes them."""
    context = stream.codec_context
    try:
        tag = context.codec_tag
    except UnicodeDecodeError:
        tag = "\0\0\0\0"
    return Codec(
        name=context.codec.canonical_name,
        decoder=context.codec.name,
        extradata=context.extradata or b"",
        tag=tag,
        width=context.width,
        height=context.height,
        pix_fmt=context.pix_fmt or "",
        bits=context.bits_per_coded_sample,
        reorder=context.reorder_depth,
        color_range=context.color_range,
        colorspace=context.colorspace,
        primaries=context.color_primaries,
        transfer=context.color_trc,
    )


def _turns(container: Any, stream: Any, shown: str) -> int:
    """Quarter turns clockwise for display: only a decoded frame carries its display matrix."""
    for number, packet in enumerate(container.demux(stream)):
        try:
            for frame in packet.decode():
                return int(round(-frame.rotation / 90) % 4)
        except av.error.FFmpegError:
            continue
        if number == _PROBED:
            break
    raise Rejected(Reason.CORRUPT, f"{shown}: no frame can be decoded")


def _media_spans(file: RangeFile) -> list[tuple[int, int]]:
    """(start, end) of the contents of the media data boxes of an MP4 or QuickTime file."""
    spans, at = [], 0
    while at + 8 <= file.stat.size:
        header = file.peek(at, 16)
        length, kind, head = int.from_bytes(header[:4], "big"), header[4:8], 8
        if length == 1:
            length, head = int.from_bytes(header[8:16], "big"), 16
        elif length == 0:
            length = file.stat.size - at  # to the end of the file
        if length < head:
            break
        if kind == b"mdat":
            spans.append((at + head, min(at + length, file.stat.size)))
        at += length
    return spans


def _in_display_order(container: Any, number: int, packets: Packets, shown: str) -> Packets:
    """AVI stores no presentation times and those guessed for B-frames are in decoding order: decode
    the file, and give the pictures the same times in the order in which they come out."""
    order: list[int] = []
    context = container.streams[number].codec_context
    packets_then_none = chain(stream_packets(container, number, shown), [None])
    for row, packet in enumerate(packets_then_none):
        if packet is not None:
            packet.pts = row
        with suppress(av.error.FFmpegError):  # a picture less, as for whoever decodes it later
            order += [frame.pts for frame in context.decode(packet)]
    pts, flags = packets.pts.copy(), packets.flags | HIDDEN
    pts[order] = np.sort(packets.pts)[: len(order)]
    flags[order] &= 255 - HIDDEN
    return replace(packets, pts=pts, flags=flags.astype(np.uint8))


class _Rows:
    """Collects rows of the index."""

    def __init__(self) -> None:
        self.pts, self.offset = array("q"), array("q")
        self.size, self.flags = array("i"), array("B")

    def add(self, packet: Any, offset: int, *, disposable: bool, hidden: bool) -> None:
        stamp = packet.pts if packet.pts is not None else packet.dts
        if stamp is None:  # it is decoded with the others, but nobody can ask for it
            stamp, hidden = (self.pts[-1] if self.pts else 0), True
        self.pts.append(stamp)
        self.offset.append(offset)
        self.size.append(packet.size)
        self.flags.append(
            KEY * packet.is_keyframe
            + DISPOSABLE * disposable
            + HIDDEN * (hidden or packet.is_discard)
        )

    def packets(self) -> Packets:
        return Packets(
            pts=np.array(self.pts, dtype=np.int64),
            offset=np.array(self.offset, dtype=np.int64),
            size=np.array(self.size, dtype=np.int32),
            flags=np.array(self.flags, dtype=np.uint8),
        )


def stream_packets(container: Any, number: int, shown: str) -> Iterator[Any]:
    """Packets of one stream in decoding order. Raises Rejected if they need more than a decoder."""
    stream = container.streams[number]
    for other in container.streams:
        if other is not stream:
            other.discard = av.stream.Discard.all
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.error.FFmpegError):  # a cut-off file ends where it was cut
            return
        if not packet.size:
            continue
        if any(packet.has_sidedata(kind) for kind in _ENCRYPTION):
            raise Rejected(Reason.CORRUPT, f"{shown}: its video is encrypted")
        if any(packet.has_sidedata(kind) for kind in _CHANGES):
            raise Rejected(Reason.CORRUPT, f"{shown}: its codec settings change on the way")
        yield packet


def _listed(container: Any, number: int, size: int, shown: str) -> Packets:
    """Rows from the container's tables; the packets themselves are zeros."""
    rows = _Rows()
    for packet in stream_packets(container, number, shown):
        if packet.pos is not None and packet.pos + packet.size <= size:
            rows.add(packet, packet.pos, disposable=packet.is_disposable, hidden=False)
    return rows.packets()


def _read(container: Any, number: int, file: RangeFile, codec: Codec) -> tuple[Packets, bool]:
    """Rows from a file read to its end, and whether every packet lies in it as it is."""
    rows, verbatim = _Rows(), True
    bits = Bitstream(codec.name, codec.extradata)
    for packet in stream_packets(container, number, file.name):
        data = bytes(packet)
        view = memoryview(data)
        offset = packet.pos if packet.pos is not None else 0
        if verbatim:
            # A demuxer gives the start of the block; after its header come the very bytes, or not.
            into = file.peek(offset, packet.size + _MAX_HEADER).find(data)
            verbatim = packet.pos is not None and into >= 0
            offset += into if verbatim else 0
        rows.add(packet, offset, disposable=bits.disposable(view), hidden=bits.hidden(view))
    return rows.packets(), verbatim
