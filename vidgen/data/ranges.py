"""An object of a Store as a seekable file that reads ahead and can blank out ranges."""

from __future__ import annotations

import io
from bisect import bisect_right
from collections import OrderedDict

from vidgen.storage.base import Stat, Store

BLOCK = 64 * 1024  # bytes; requests are whole blocks
_LONGEST_READ_AHEAD = 64  # blocks; doubles while reading goes on in order
_KEEP = 512  # blocks in memory
_ZEROS = bytes(1024**2)


class RangeFile(io.RawIOBase):
    """A read-only file over `Store.read_range`.

    Demuxers read a few bytes here and there, so blocks stay in memory, and reading in order fetches
    ever longer ranges. Everything read belongs to one version of the object (its etag).

    Attributes:
        requests: ranges fetched so far.
        fetched: bytes fetched so far.
    """

    def __init__(self, store: Store, stat: Stat) -> None:
        self.store, self.stat = store, stat
        # Messages of the demuxer name the object by this; a plain str, never opened as a path.
        self.name = store.where(stat.key)
        self.requests = self.fetched = 0
        self._at = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._next_block, self._ahead = 0, 1
        self._blank_starts: list[int] = []
        self._blank_ends: list[int] = []

    def blank(self, spans: list[tuple[int, int]]) -> None:
        """From now on the bytes of these sorted (start, end) spans read as zeros, unfetched."""
        self._blank_starts = [start for start, _ in spans]
        self._blank_ends = [end for _, end in spans]

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.stat.size}[whence]
        if base + offset < 0:
            raise ValueError(f"seek to {base + offset}")
        self._at = base + offset
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        """Up to `size` bytes: fewer at the end of a block, a blank span or the file."""
        left = self.stat.size - self._at
        size = left if size is None or size < 0 else min(size, left)
        if size <= 0:
            return b""
        span = bisect_right(self._blank_starts, self._at) - 1
        if span >= 0 and self._at < self._blank_ends[span]:
            size = min(size, self._blank_ends[span] - self._at, len(_ZEROS))
            self._at += size
            return _ZEROS[:size]
        if span + 1 < len(self._blank_starts):
            size = min(size, self._blank_starts[span + 1] - self._at)
        number, offset = divmod(self._at, BLOCK)
        data = self._block(number)[offset : offset + size]
        self._at += len(data)
        return data

    def peek(self, start: int, length: int) -> bytes:
        """Real bytes from anywhere, fewer only at the end of the file; the position stays."""
        end = min(start + length, self.stat.size)
        parts = []
        while start < end:
            number, offset = divmod(start, BLOCK)
            parts.append(self._block(number)[offset : offset + end - start])
            start += len(parts[-1])
        return b"".join(parts)

    def _block(self, number: int) -> bytes:
        data = self._blocks.get(number)
        if data is not None:
            self._blocks.move_to_end(number)
            return data
        in_order = number == self._next_block
        self._ahead = min(self._ahead * 2, _LONGEST_READ_AHEAD) if in_order else 1
        start = number * BLOCK
        length = min(self._ahead * BLOCK, self.stat.size - start)
        data = self.store.read_range(self.stat.key, start, length, etag=self.stat.etag)
        self.requests += 1
        self.fetched += length
        for part in range(0, length, BLOCK):
            self._blocks[number + part // BLOCK] = data[part : part + BLOCK]
        self._next_block = number + -(-length // BLOCK)
        while len(self._blocks) > _KEEP:
            self._blocks.popitem(last=False)
        return self._blocks[number]
