"""Packet indexes in Parquet: one row per source, lists of packets, delta encoded.

    packets/00000.parquet    sources 0 to 1023 of the data set, in order
    packets/00001.parquet    ...

A reader needs one small row group for a source, whatever the size of the data set.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from fractions import Fraction
from itertools import accumulate, groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vidgen.data.packets import Codec, Packets, Source
from vidgen.errors import DataError
from vidgen.storage.base import Store

FOLDER = "packets"
PARTS = f"{FOLDER}/parts/"  # one source each, while a data set is made
SOURCES_PER_FILE = 1024
_PACKETS_PER_GROUP = 8_192
_OPEN_FILES, _HELD_GROUPS, _HELD_SOURCES = 8, 32, 16

_TYPES = {"str": pa.string(), "bytes": pa.binary(), "int": pa.int32()}
_CODEC = [(f.name, _TYPES[str(f.type)]) for f in fields(Codec)]
_LISTS = {
    # Parquet packs differences into as few bits as they need, so each list is stored as what
    # changes least: presentation times as they are, positions as gaps after the packet before.
    "pts": pa.int64(),
    "gap": pa.int64(),
    "packet_size": pa.int32(),
    "flags": pa.uint8(),
}
SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("size", pa.int64()),
        ("etag", pa.string()),
        ("container", pa.string()),
        ("sparse", pa.bool_()),
        ("verbatim", pa.bool_()),
        ("tick", pa.string()),  # seconds, 'numerator/denominator'
        ("pixel_shape", pa.string()),
        ("turns", pa.int32()),
        *((f"codec_{name}", kind) for name, kind in _CODEC),
        *((name, pa.list_(kind)) for name, kind in _LISTS.items()),
    ],
    metadata={"vidgen.packets": "1"},
)


def file_name(number: int) -> str:
    """'packets/00000.parquet'"""
    return f"{FOLDER}/{number:05d}.parquet"


def encode_index(sources: Sequence[Source]) -> bytes:
    """Sources as the bytes of one Parquet file; the same for the same."""
    buffer = io.BytesIO()
    writer = pq.ParquetWriter(
        buffer,
        SCHEMA,
        compression="zstd",
        use_dictionary=[
            n for n in SCHEMA.names if n not in ("key", "etag", "pts", "gap", "packet_size")
        ],
        column_encoding={
            f"{name}.list.element": "DELTA_BINARY_PACKED" for name in ("pts", "gap", "packet_size")
        },
        write_statistics=False,
    )
    totals = accumulate(len(source.packets) for source in sources)
    numbered = zip(totals, sources, strict=True)
    for _, group in groupby(numbered, key=lambda pair: pair[0] // _PACKETS_PER_GROUP):
        rows = [_to_row(source) for _, source in group]
        writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), row_group_size=len(rows))
    writer.close()
    return buffer.getvalue()


def write_index(store: Store, sources: Iterable[Source]) -> int:
    """Write all index files of a data set; returns the number of sources."""
    number = count = 0
    held: list[Source] = []
    for source in sources:
        held.append(source)
        count += 1
        if len(held) == SOURCES_PER_FILE:
            store.write(file_name(number), encode_index(held))
            number, held = number + 1, []
    if held:
        store.write(file_name(number), encode_index(held))
    return count


def read_index(data: bytes) -> Iterator[Source]:
    """All sources of one index file. Raises pyarrow's errors where it is damaged."""
    file = pq.ParquetFile(pa.BufferReader(data))
    for group in range(file.metadata.num_row_groups):
        table = file.read_row_group(group, use_threads=False)
        for row in range(table.num_rows):
            yield _to_source(table, row)


def how_indexed(store: Store) -> list[tuple[str, str]]:
    """(key, "tables" | "read to the end" | "demuxed each time") of every source of a data set."""
    found: list[tuple[str, str]] = []
    columns = ["key", "sparse", "verbatim"]
    for stat in store.list(f"{FOLDER}/"):
        if stat.key.startswith(PARTS):
            continue
        table = pq.read_table(pa.BufferReader(store.read(stat.key)), columns=columns)
        for row in table.to_pylist():
            how = "tables" if row["sparse"] else "read to the end"
            found.append((row["key"], how if row["verbatim"] else "demuxed each time"))
    return found


class PacketIndex:
    """Sources by number, read when asked for. Picklable; a few files and sources stay in memory."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._reset()

    def __getstate__(self) -> dict[str, Any]:
        return {"store": self.store}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.store = state["store"]
        self._reset()

    def _reset(self) -> None:
        self._files: OrderedDict[int, tuple[pq.ParquetFile, list[int]]] = OrderedDict()
        self._groups: OrderedDict[tuple[int, int], pa.Table] = OrderedDict()
        self._sources: OrderedDict[int, Source] = OrderedDict()

    def __getitem__(self, number: int) -> Source:
        """Raises DataError if there is no such source or the file is damaged."""
        if number not in self._sources:
            self._sources[number] = self._load(number)
            if len(self._sources) > _HELD_SOURCES:
                self._sources.popitem(last=False)
        self._sources.move_to_end(number)
        return self._sources[number]

    def _load(self, number: int) -> Source:
        which, row = divmod(number, SOURCES_PER_FILE)
        where = self.store.where(file_name(which))
        try:
            file, ends = self._open(which)
            group = int(np.searchsorted(ends, row, side="right"))
            if group == len(ends):
                raise DataError(f"{where} has no source {number}")
            if (which, group) not in self._groups:
                self._groups[which, group] = file.read_row_group(group, use_threads=False)
                if len(self._groups) > _HELD_GROUPS:
                    self._groups.popitem(last=False)
            self._groups.move_to_end((which, group))
        except (pa.ArrowException, OSError) as error:
            reason = str(error).splitlines()[0]
            raise DataError(f"{where} is damaged: {reason}") from None
        return _to_source(self._groups[which, group], row - (ends[group - 1] if group else 0))

    def _open(self, which: int) -> tuple[pq.ParquetFile, list[int]]:
        if which not in self._files:
            stat = self.store.stat(file_name(which))
            data = self.store.read_range(stat.key, 0, stat.size, etag=stat.etag)  # cacheable
            file = pq.ParquetFile(pa.BufferReader(data))
            groups = range(file.metadata.num_row_groups)
            ends = [*accumulate(file.metadata.row_group(g).num_rows for g in groups)]
            self._files[which] = file, ends
            if len(self._files) > _OPEN_FILES:
                self._files.popitem(last=False)
        self._files.move_to_end(which)
        return self._files[which]


def _to_row(source: Source) -> dict[str, Any]:
    packets = source.packets
    ends = packets.offset + packets.size
    return {
        "key": source.key,
        "size": source.size,
        "etag": source.etag,
        "container": source.container,
        "sparse": source.sparse,
        "verbatim": source.verbatim,
        "tick": str(source.tick),
        "pixel_shape": str(source.pixel_shape),
        "turns": source.turns,
        **{f"codec_{name}": value for name, value in asdict(source.codec).items()},
        "pts": packets.pts,
        "gap": packets.offset - np.concatenate([[0], ends[:-1]]),
        "packet_size": packets.size,
        "flags": packets.flags,
    }


def _to_source(table: pa.Table, row: int) -> Source:
    plain = {name: table[name][row].as_py() for name in SCHEMA.names if name not in _LISTS}
    lists = {name: table[name][row].values.to_numpy(zero_copy_only=False) for name in _LISTS}
    sizes = lists["packet_size"]
    # offset = sum of all gaps up to here, and of the sizes of all packets before
    offset = np.cumsum(lists["gap"] + np.concatenate([[0], sizes[:-1]]))
    codec = Codec(**{name: plain.pop(f"codec_{name}") for name, _ in _CODEC})
    return Source(
        **{
            **plain,
            "tick": Fraction(plain["tick"]),
            "pixel_shape": Fraction(plain["pixel_shape"]),
            "codec": codec,
            "packets": Packets(pts=lists["pts"], offset=offset, size=sizes, flags=lists["flags"]),
        }
    )
