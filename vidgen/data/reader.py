"""Clips from packet indexes: fetch exactly the needed bytes, decode exactly the needed pictures.

Packets go straight into a codec context: no container is opened and nothing is probed. Pictures
that nobody asked for and nothing refers to are never decoded.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice
from typing import Any

import av

from vidgen.config.data import SkipLoopFilter
from vidgen.data.bitstream import Bitstream
from vidgen.data.decoder import open_decoder
from vidgen.data.demux import MAX_PIXELS, open_demuxer
from vidgen.data.indexing import stream_packets
from vidgen.data.packets import DISPOSABLE, HIDDEN, KEY, Codec, Packets, Source
from vidgen.data.picture import Box, ClipFrames, Fit, Frames, Scaler
from vidgen.data.plan import Rows, Run, byte_spans, clip_rows, runs
from vidgen.data.ranges import RangeFile
from vidgen.data.reasons import Reason, Rejected
from vidgen.storage.base import Store

_DECODERS = 4  # kept open; a decoder of 1080p holds tens of megabytes
_BATCH = 64 * 1024**2  # bytes fetched before they are decoded
_LONGEST = 512 * 1024**2  # bytes of one run of packets; longer groups of pictures are refused
_LEARNED = 64  # videos whose index turned out to be wrong somewhere


@dataclass
class ReadStats:
    """What reading took so far, in this process."""

    clips: int = 0
    requests: int = 0
    fetched: int = 0  # bytes
    passed_by: int = 0  # packets that did not have to be decoded
    decode_s: float = 0.0


# Bytes of a video by (start, end), fetched before they are needed.
Fetched = dict[tuple[int, int], bytes]


class _NoStart(Exception):
    """This key packet is no place to start decoding."""


class _Missing(Exception):
    """Rows that did not decode, the key packet they were decoded from, and an error if any."""


class ClipReader:
    """Reads clips of indexed videos; picklable. `read` is not for several threads at once, a thread
    beside it may `fetch`.

    Args:
        store: holds the videos.
        skip_loop_filter: "noref" leaves out the deblocking of pictures that nothing refers to,
            "all" of every picture: faster, and the pixels differ.
        skip_disposable: pass by pictures that nothing needs; False is for measurements.
        max_pixels: larger frames are refused before they are allocated.
    """

    def __init__(
        self,
        store: Store,
        *,
        skip_loop_filter: SkipLoopFilter = "none",
        skip_disposable: bool = True,
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        self.store, self.max_pixels = store, max_pixels
        self.skip_loop_filter, self.skip_disposable = skip_loop_filter, skip_disposable
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k != "stats" and k[0] != "_"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def _reset(self) -> None:
        self.stats = ReadStats()
        self._decoders: OrderedDict[Codec, tuple[Any, Bitstream]] = OrderedDict()
        self._learned: OrderedDict[tuple[str, str], tuple[Packets, frozenset[int]]] = OrderedDict()

    def fetch(
        self,
        source: Source,
        *,
        start_s: float | Fraction,
        frames: int,
        stride: int | None = None,
        fps: float | Fraction | None = None,
    ) -> Fetched:
        """What `read` will need, as far as it is known and not too much to hold.

        Raises DataError, Rejected and StorageError as `read` does.
        """
        if not source.verbatim:
            return {}
        packets, no_start = self._known(source)
        seen = source if packets is source.packets else replace(source, packets=packets)
        rows = clip_rows(seen, start_s, frames, stride, fps)
        spans = byte_spans(packets, runs(packets, rows, no_start=no_start))
        if sum(end - start for start, end in spans) > _BATCH:
            return {}
        return {span: self._range(source, *span) for span in spans}

    def read(
        self,
        source: Source,
        *,
        start_s: float | Fraction,
        frames: int,
        stride: int | None = None,
        fps: float | Fraction | None = None,
        size: tuple[int, int] | None = None,
        fit: Fit = "crop",
        box: Box | None = None,
        fetched: Fetched | None = None,
    ) -> Frames:
        """One clip as (T, H, W, 3) uint8 RGB.

        Args:
            start_s: seconds after the first picture of the video.
            stride: take every stride-th picture, beginning with the one nearest to `start_s`.
            fps: or take the pictures nearest to start_s, start_s + 1/fps, ...
            size: (H, W); None keeps the displayed size.
            box: the part of the picture that counts.
            fetched: of the same clip.

        Raises:
            DataError: the clip reaches past the end.
            Rejected: it cannot be decoded.
            StorageError: it cannot be read, or has changed since it was indexed.
        """
        scaler = Scaler(size, fit, source.pixel_shape, source.turns, box)
        known = (source.key, source.etag)
        packets, no_start = self._known(source)
        earlier: frozenset[int] = frozenset()  # key packets passed over to see whether that helps
        while True:
            seen = source if packets is source.packets else replace(source, packets=packets)
            rows = clip_rows(seen, start_s, frames, stride, fps)
            try:
                clip = self._decode(seen, rows, scaler, no_start | earlier, fetched or {})
            except _NoStart as found:
                no_start |= {found.args[0]}
            except _Missing as missing:
                gone, start, why = missing.args
                if start > 0 and len(earlier) < (3 if why else 1):
                    earlier |= {start}
                elif why or len(packets.shown) == len(gone):
                    where = self.store.where(source.key)
                    what = f"{where}: a clip at {float(start_s):g} s does not decode: {why}"
                    raise Rejected(Reason.CORRUPT, what) from None
                else:  # packets without a picture of their own: ask for their neighbours
                    flags = packets.flags.copy()
                    flags[gone] |= HIDDEN
                    packets, earlier = replace(packets, flags=flags), frozenset()
            else:
                self._learn(known, packets, no_start | earlier, source)
                self.stats.clips += 1
                return clip

    def _known(self, source: Source) -> tuple[Packets, frozenset[int]]:
        """Its packets and those of them where decoding cannot start, as far as is known by now."""
        return self._learned.get((source.key, source.etag), (source.packets, frozenset()))

    def _learn(
        self, known: tuple[str, str], packets: Packets, no_start: frozenset[int], source: Source
    ) -> None:
        if packets is not source.packets or no_start:
            self._learned[known] = packets, no_start
            self._learned.move_to_end(known)
            if len(self._learned) > _LEARNED:
                self._learned.popitem(last=False)

    def _decode(
        self,
        source: Source,
        rows: Rows,
        scaler: Scaler,
        no_start: frozenset[int],
        fetched: Fetched,
    ) -> Frames:
        """Fetch and decode in batches of runs, so that memory stays bounded."""
        slots: dict[int, list[int]] = {}  # row: places in the clip
        for place, row in enumerate(rows.tolist()):
            slots.setdefault(row, []).append(place)
        clip = ClipFrames(len(rows), scaler, slots)
        packets = source.packets
        batch: list[Run] = []
        held = 0
        for run in runs(packets, rows, no_start=no_start):
            length = sum(end - start for start, end in byte_spans(packets, [run]))
            if length > _LONGEST:
                raise Rejected(
                    Reason.CORRUPT, f"{source.key}: {length} bytes between two starting points"
                )
            if batch and held + length > _BATCH:
                self._decode_batch(source, batch, clip, fetched)
                batch, held = [], 0
            batch.append(run)
            held += length
        self._decode_batch(source, batch, clip, fetched)
        return clip.frames()

    def _decode_batch(
        self, source: Source, batch: list[Run], clip: ClipFrames, fetched: Fetched
    ) -> None:
        data = self._bytes(source, batch, fetched)
        here = time.perf_counter()
        for run in batch:
            self._decode_run(source, run, data, clip)
        self.stats.decode_s += time.perf_counter() - here

    def _bytes(
        self, source: Source, batch: list[Run], fetched: Fetched
    ) -> Callable[[int], memoryview]:
        """A function from row to the bytes of its packet."""
        if not source.verbatim:
            return self._demux(source, batch)
        spans = byte_spans(source.packets, batch)
        parts = [
            memoryview(fetched[span] if span in fetched else self._range(source, *span))
            for span in spans
        ]
        starts = [start for start, _ in spans]
        offsets, sizes = source.packets.offset, source.packets.size

        def packet(row: int) -> memoryview:
            offset = int(offsets[row])
            part = bisect_right(starts, offset) - 1
            at = offset - starts[part]
            return parts[part][at : at + int(sizes[row])]

        return packet

    def _range(self, source: Source, start: int, end: int) -> bytes:
        data = self.store.read_range(source.key, start, end - start, etag=source.etag or None)
        self.stats.requests += 1
        self.stats.fetched += end - start
        return data

    def _demux(self, source: Source, batch: list[Run]) -> Callable[[int], memoryview]:
        """For containers whose packets are not in the file as they are: read it from the start."""
        wanted = {row for run in batch for row in range(run.start, run.stop)}
        file = RangeFile(self.store, source.stat)
        with open_demuxer(file, file.name, max_pixels=self.max_pixels) as (container, stream):
            demuxed = enumerate(stream_packets(container, stream.index, file.name))
            found = {
                row: memoryview(bytes(packet))
                for row, packet in islice(demuxed, max(wanted) + 1)
                if row in wanted
            }
        self.stats.requests += file.requests
        self.stats.fetched += file.fetched
        return found.__getitem__

    def _decode_run(
        self, source: Source, run: Run, data: Callable[[int], memoryview], clip: ClipFrames
    ) -> None:
        context, bits = self._decoder(source.codec)
        packets = [data(row) for row in range(run.start, run.stop)]
        if run.start > 0 and not bits.can_start(packets[0]):
            raise _NoStart(run.start)
        asked = {row for row in clip.slots if run.start <= row < run.stop}
        every = set(range(len(packets)))
        chosen, followed = every, False
        if self.skip_disposable:
            listed = (source.packets.flags[run.start : run.stop] & DISPOSABLE).astype(bool).tolist()
            chosen, followed = bits.needed(packets, listed, {row - run.start for row in asked})
        left = set(asked)
        error = self._feed(context, source, run.start, packets, chosen, left, clip)
        if left and followed:  # a stream that breaks its own rules: trust none of its pictures
            left = set(asked)
            error = self._feed(context, source, run.start, packets, every, left, clip)
        else:
            self.stats.passed_by += len(every) - len(chosen)
        if left:
            raise _Missing(sorted(left), run.start, error)

    def _feed(
        self,
        context: Any,
        source: Source,
        start: int,
        packets: list[memoryview],
        chosen: set[int],
        left: set[int],
        clip: ClipFrames,
    ) -> str:
        """Decode the chosen packets; take rows that are left, and strike them out. The error."""
        flags = source.packets.flags
        error = ""
        for at in [*sorted(chosen), None]:
            packet: Any = None  # at the end: hand out what is held back
            if at is not None:
                packet = av.Packet(len(packets[at]))  # a copy, since decoders read past the end
                packet.update(packets[at])
                packet.pts = start + at  # comes back with the picture
                packet.is_keyframe = bool(flags[start + at] & KEY)
            try:
                for frame in context.decode(packet):
                    if frame.pts in left and not frame.is_corrupt:
                        clip.take(frame.pts, frame)
                        left.discard(frame.pts)
            except av.error.FFmpegError as failure:
                error = error or str(failure.strerror)
            if not left:
                break
        context.flush_buffers()
        context.reorder_depth = source.codec.reorder
        return error

    def _decoder(self, codec: Codec) -> tuple[Any, Bitstream]:
        """An open decoder, reused where the parameters are the same."""
        if codec not in self._decoders:
            options = {"max_pixels": str(self.max_pixels)}
            if self.skip_loop_filter != "none":
                options["skip_loop_filter"] = self.skip_loop_filter
            context = open_decoder(codec, options)
            self._decoders[codec] = context, Bitstream(codec.name, codec.extradata)
            if len(self._decoders) > _DECODERS:
                self._decoders.popitem(last=False)
        self._decoders.move_to_end(codec)
        return self._decoders[codec]
