"""Rows of a manifest by number, for data sets of any size.

    rows/00000.arrow     the columns that training needs, as Arrow record batches of 512 rows
    rows/batches.npy     (file, first byte, bytes) of each batch

A training process reads one batch for a clip; opening the data set reads the short list alone.
"""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vidgen.data.manifest import MANIFEST, SCHEMA, Row, read_manifest
from vidgen.errors import DataError
from vidgen.storage.base import Store

FOLDER = "rows/"
_LIST = f"{FOLDER}batches.npy"
_BATCH, _PER_FILE = 512, 1024  # rows, batches
_HELD = 256  # batches in memory
_COLUMNS = pa.schema([SCHEMA.field(i) for i in range(SCHEMA.names.index("split") + 1)])
_PACKED = pa.ipc.IpcWriteOptions(compression="zstd")


def write_rows(store: Store, table: pa.Table) -> None:
    """Write the files of a whole manifest, in its order."""
    columns = table.select(_COLUMNS.names)
    places: list[tuple[int, int, int]] = []
    held = io.BytesIO()
    which = 0
    for at in range(0, table.num_rows, _BATCH):
        part = columns.slice(at, _BATCH).combine_chunks().to_batches(max_chunksize=_BATCH)
        data = _serialized(part[0])
        places.append((which, held.tell(), len(data)))
        held.write(data)
        if len(places) % _PER_FILE == 0:
            store.write(_file(which), held.getvalue())
            held, which = io.BytesIO(), which + 1
    if held.tell():
        store.write(_file(which), held.getvalue())
    buffer = io.BytesIO()
    np.save(buffer, np.array(places, np.int64).reshape(-1, 3))
    store.write(_LIST, buffer.getvalue())
    used = {_LIST, *(_file(place[0]) for place in places)}
    for stat in list(store.list(FOLDER)):
        if stat.key not in used:  # of a larger manifest before
            store.delete(stat.key)


def _file(number: int) -> str:
    return f"{FOLDER}{number:05d}.arrow"


def _serialized(batch: pa.RecordBatch) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, batch.schema, options=_PACKED) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


class Rows(Protocol):
    """All rows of a manifest, in its order."""

    def take(self, numbers: Sequence[int]) -> list[Row]:
        """Rows by number."""

    def table(self) -> pa.Table:
        """All rows and columns."""


class TableRows:
    """Rows in memory."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table

    def take(self, numbers: Sequence[int]) -> list[Row]:
        return [Row(**row) for row in self._table.take(pa.array(numbers)).to_pylist()]

    def table(self) -> pa.Table:
        return self._table


class FileRows:
    """Rows in files; what was read last stays in memory."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._places: NDArray[np.int64] | None = None
        self._held: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        self._all: pa.Table | None = None

    def take(self, numbers: Sequence[int]) -> list[Row]:
        places = [divmod(int(number), _BATCH) for number in numbers]
        missing = sorted({batch for batch, _ in places} - self._held.keys())
        if missing:
            # Requests to a remote store go out side by side.
            with ThreadPoolExecutor(min(8, len(missing))) as pool:
                self._held.update(zip(missing, pool.map(self._read, missing), strict=True))
        rows = [Row(**self._held[batch].slice(at, 1).to_pylist()[0]) for batch, at in places]
        for batch, _ in places:
            self._held.move_to_end(batch)
        while len(self._held) > _HELD:
            self._held.popitem(last=False)
        return rows

    def table(self) -> pa.Table:
        if self._all is None:
            self._all = read_manifest(self.store)
        return self._all

    def _read(self, batch: int) -> pa.RecordBatch:
        which, start, length = (int(value) for value in self._listed()[batch])
        data = self.store.read_range(_file(which), start, length)
        try:
            return pa.ipc.open_stream(pa.py_buffer(data)).read_next_batch()
        except (pa.ArrowException, OSError) as error:
            raise self._damaged(_file(which), error) from None

    def _listed(self) -> NDArray[np.int64]:
        if self._places is None:
            data = self.store.read(_LIST)
            try:
                self._places = np.load(io.BytesIO(data), allow_pickle=False)
            except (ValueError, EOFError, OSError) as error:
                raise self._damaged(_LIST, error) from None
        return self._places

    def _damaged(self, key: str, error: Exception) -> DataError:
        reason = (str(error).splitlines() or [""])[0]
        return DataError(
            f"{self.store.where(key)} is damaged: {reason}",
            fix=f"Prepare the data set again; this file is made of {MANIFEST}.",
        )


class Split:
    """Consecutive rows of a manifest."""

    def __init__(self, rows: Rows, start: int, count: int) -> None:
        self._rows, self._start, self._count = rows, start, count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Row:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self.take([index])[0]

    def take(self, index: Sequence[int] | NDArray[np.int64]) -> list[Row]:
        """Several rows; cheaper than one by one."""
        return self._rows.take([self._start + int(i) for i in index])

    def first(self, count: int) -> Split:
        """The first `count` rows."""
        return Split(self._rows, self._start, min(count, self._count))

    @property
    def table(self) -> pa.Table:
        """All rows with all their columns, in memory."""
        return self._rows.table().slice(self._start, self._count)

    def column(self, name: str) -> Any:
        """A manifest column as a NumPy array."""
        return self.table[name].to_numpy()
