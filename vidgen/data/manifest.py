"""The files of a prepared data set: manifest.parquet, rejects.jsonl, dataset.json.

dataset.json is written last; a folder without it holds no data set.
"""

from __future__ import annotations

import dataclasses
import io
import json
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, ValidationError

from vidgen.data.reasons import Reason
from vidgen.errors import DataError, NotFoundInStore
from vidgen.storage.base import Store

VERSION = 1
SPLITS = ("train", "val", "test")
MANIFEST, REJECTS, SUMMARY = "manifest.parquet", "rejects.jsonl", "dataset.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip.

    Attributes:
        clip: object key of the prepared video below the data set; empty if there is none.
        source: key of the file it was cut from, below SRC.
        split: train, val or test; the same for all clips of a source.
        start_s, duration_s: its place in the source, seconds.
        frames, fps, width, height: of the prepared clip.
        caption: free text, may be empty.
        label: class name, may be empty.
        sha256, bytes: of the prepared file.
        motion: mean absolute change between consecutive frames, 0 to 1.
        brightness: mean luma, 0 to 1.
        source_width, source_height, source_fps, source_codec: of the original, as displayed.
        extra: further columns of the captions file, a JSON object.
        packets: number of the source in the packet index, -1 if the clip is a file of its own.
    """

    clip: str
    source: str
    split: str
    start_s: float
    duration_s: float
    frames: int
    fps: float
    width: int
    height: int
    caption: str
    label: str
    sha256: str
    bytes: int
    motion: float
    brightness: float
    source_width: int
    source_height: int
    source_fps: float
    source_codec: str
    extra: str
    packets: int = -1

    def more(self) -> dict[str, Any]:
        """The further columns of the captions file."""
        found: dict[str, Any] = json.loads(self.extra)
        return found


_TYPES = {"str": pa.string(), "float": pa.float64(), "int": pa.int64()}
SCHEMA = pa.schema([(f.name, _TYPES[str(f.type)]) for f in dataclasses.fields(Row)])


@dataclass(frozen=True, kw_only=True)
class Reject:
    """One line of rejects.jsonl: a source, or a part of it, that is not used."""

    source: str
    reason: Reason
    detail: str
    start_s: float | None = None
    """Where in the source, when only a part is left out."""


class SourceCounts(BaseModel):
    """Files below SRC: seen = kept + rejected + skipped. Skipped ones are not videos."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    seen: int
    kept: int
    rejected: int
    skipped: int


class DatasetSummary(BaseModel):
    """dataset.json."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    version: int = VERSION
    width: int
    height: int
    fps: float
    labels: tuple[str, ...]
    sources: SourceCounts
    clips: dict[str, int]
    """Clips per split."""
    rejects: dict[str, int]
    """Lines of rejects.jsonl per reason."""
    options: dict[str, Any]
    """What it was prepared with."""
    originals: str | None = None
    """Where the videos are that an index data set is read from; None if it has its own files."""


def write_dataset(
    store: Store, rows: list[Row], rejects: list[Reject], summary: DatasetSummary
) -> None:
    """Write the three files; equal content gives equal bytes."""
    rows = sorted(rows, key=lambda row: (row.source, row.start_s))
    table = pa.Table.from_pylist([dataclasses.asdict(row) for row in rows], schema=SCHEMA)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.write(MANIFEST, buffer.getvalue())
    write_rejects(store, rejects)
    store.write(SUMMARY, (summary.model_dump_json(indent=2) + "\n").encode())


def write_rejects(store: Store, rejects: list[Reject]) -> None:
    """Write rejects.jsonl, sorted."""
    lines = [
        json.dumps({k: v for k, v in dataclasses.asdict(r).items() if v is not None})
        for r in sorted(rejects, key=lambda r: (r.source, r.start_s or 0.0))
    ]
    store.write(REJECTS, "".join(line + "\n" for line in lines).encode())


def read_summary(store: Store) -> DatasetSummary:
    """dataset.json. Raises DataError if there is none or it is not ours."""
    try:
        text = store.read(SUMMARY)
    except NotFoundInStore:
        next(store.list(SUMMARY), None)  # raises where it is the bucket that is missing
        raise DataError(
            f"{store.url} holds no prepared data set (no {SUMMARY})",
            fix=f"Make one: vidgen data prepare VIDEOS {store.url}",
        ) from None
    try:
        summary = DatasetSummary.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{store.where(SUMMARY)} is damaged: {at}: {first['msg']}") from None
    if summary.version != VERSION:
        raise DataError(
            f"{store.url} is a data set of version {summary.version}",
            expected=f"version {VERSION}",
            fix="Prepare it again with this vidgen, or use the vidgen that made it.",
        )
    return summary


def read_manifest(store: Store) -> pa.Table:
    """manifest.parquet, all rows in its order. Raises DataError if damaged."""
    data = store.read(MANIFEST)
    try:
        return pq.read_table(io.BytesIO(data), schema=SCHEMA)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{store.where(MANIFEST)} is damaged: {reason}") from None


def read_rejects(store: Store) -> list[Reject]:
    """rejects.jsonl."""
    lines = [json.loads(line) for line in store.read(REJECTS).decode().splitlines()]
    return [Reject(**{**line, "reason": Reason(line["reason"])}) for line in lines]
