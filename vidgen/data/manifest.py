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

VERSION = 2
SPLITS = ("train", "val", "test")
MANIFEST, REJECTS, SUMMARY = "manifest.parquet", "rejects.jsonl", "dataset.json"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One clip. What comes after `split` is in the table alone: a loader does not read it.

    Attributes:
        clip: object key below the data set that holds it; empty if it stays in its source.
        offset, bytes: where in that object; an MP4 file of its own.
        packets: number of the clip, or of its source, in the packet index; -1 if `clip` is a file
            of its own, to be indexed when it is read.
        source: key of the file it was cut from, below SRC.
        start_s, duration_s: its place in the source, seconds.
        frames, fps, width, height: of the clip.
        box: part of the source's picture that counts, 'top left height width' in shares; empty:
            all of it. It has been cut out of clips that do not stay in their source.
        caption: free text, may be empty.
        label: class name, may be empty.
        scene, action, objects: further labels, may be empty.
        extra: further columns of the captions file, a JSON object.
        split: train, val or test; the same for all clips of a source.
        sha256: of the clip's bytes, or of its frames where it stays in its source.
        motion, brightness, blur, noise, frozen: see `quality.Quality`.
        missing: share of its frames that the source lost.
        alike: see `alike.signature`.
        source_width, source_height, source_fps, source_codec: of the original, as displayed.
    """

    clip: str
    offset: int = 0
    bytes: int = 0
    packets: int = -1
    source: str
    start_s: float
    duration_s: float
    frames: int
    fps: float
    width: int
    height: int
    box: str = ""
    caption: str = ""
    label: str = ""
    scene: str = ""
    action: str = ""
    objects: str = ""
    extra: str = "{}"
    split: str
    sha256: str = ""
    motion: float = 0.0
    brightness: float = 0.0
    blur: float = 0.0
    noise: float = 0.0
    frozen: float = 0.0
    missing: float = 0.0
    alike: str = ""
    source_width: int = 0
    source_height: int = 0
    source_fps: float = 0.0
    source_codec: str = ""

    @property
    def name(self) -> str:
        """For messages and captions: where it comes from."""
        return f"{self.source} at {self.start_s:g} s" if self.start_s else self.source

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


class StageCounts(BaseModel):
    """One stage of prepare: seen = kept + rejected + skipped."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    stage: str
    of: str
    """files, sources or clips."""
    seen: int
    kept: int
    rejected: int
    skipped: int
    reasons: dict[str, int]
    """Of the rejected ones."""


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
    lengths: dict[str, dict[int, int]] = {}
    """Clips per split by frames, long ones first: the order of the manifest."""
    rejects: dict[str, int]
    """Lines of rejects.jsonl per reason."""
    stages: tuple[StageCounts, ...] = ()
    """What each stage did, in order."""
    options: dict[str, Any]
    """What it was prepared with."""
    originals: str | None = None
    """Where the videos are that an index data set is read from; None if it has its own files."""


def write_dataset(
    store: Store, rows: list[Row], rejects: list[Reject], summary: DatasetSummary
) -> None:
    """Write the three files, and rows/; equal content gives equal bytes."""
    from vidgen.data.rows import write_rows

    table = in_order(pa.Table.from_pylist([dataclasses.asdict(r) for r in rows], schema=SCHEMA))
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    store.write(MANIFEST, buffer.getvalue())
    write_rows(store, table)
    write_rejects(store, rejects)
    summary = summary.model_copy(update={"lengths": lengths(table)})
    store.write(SUMMARY, (summary.model_dump_json(indent=2) + "\n").encode())


def in_order(table: pa.Table) -> pa.Table:
    """By split, length (long ones first), source and start: the clips of a split that are long
    enough for a run stand together at its beginning.
    """
    import pyarrow.compute as pc  # decoder processes, which start often, can do without

    place = pc.index_in(table["split"], pa.array(SPLITS))
    keys = [("frames", "descending"), ("source", "ascending"), ("start_s", "ascending")]
    order = pc.sort_indices(
        table.append_column("place", place), sort_keys=[("place", "ascending"), *keys]
    )
    return table.take(order)


def lengths(table: pa.Table) -> dict[str, dict[int, int]]:
    """How many clips of each split have how many frames."""
    counted = table.group_by(["split", "frames"]).aggregate([([], "count_all")]).to_pylist()
    found: dict[str, dict[int, int]] = {name: {} for name in SPLITS}
    for row in sorted(counted, key=lambda row: -row["frames"]):
        found[row["split"]][row["frames"]] = row["count_all"]
    return found


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
