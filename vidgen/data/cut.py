"""One source to clips: the work of a decoder process, here or on another machine."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from vidgen.config.prepare import PrepareOptions
from vidgen.data.alike import signature
from vidgen.data.encode import encode_mp4
from vidgen.data.footage import Footage, Indexed, open_footage
from vidgen.data.index_file import PARTS, encode_index
from vidgen.data.indexing import index_source
from vidgen.data.letterbox import find_box
from vidgen.data.packets import Source
from vidgen.data.picture import Box, Frames
from vidgen.data.quality import Quality, fault, measure
from vidgen.data.reasons import Reason, Rejected
from vidgen.data.shots import Piece, pieces
from vidgen.data.video import VideoInfo
from vidgen.errors import AccessDenied, NotFoundInStore
from vidgen.storage.base import Stat, Store
from vidgen.storage.local import LocalStore

CLIPS = "parts/"  # the encoded clips of one source each, until they are in a pack


@dataclass(frozen=True, kw_only=True)
class Job:
    """A source to cut."""

    src: Store
    dest: Store
    stat: Stat
    options: PrepareOptions


@dataclass(frozen=True, kw_only=True)
class Left:
    """A source, or the clip at `start_s`, that is left out."""

    reason: str
    detail: str
    start_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a source; a line of the journal.

    Attributes:
        source, etag, size: which file.
        options: fingerprint of the options it was cut with.
        clips: manifest columns known here, one dict a clip.
        left: what was left out; everything if there are no clips.
        part: hash of the encoded clips together, '' without any.
        part_bytes: how long they are.
    """

    source: str
    etag: str
    size: int
    options: str
    clips: list[dict[str, Any]]
    left: list[Left]
    part: str = ""
    part_bytes: int = 0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        return cls(**{**values, "left": [Left(**item) for item in values["left"]]})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def part_name(source: str) -> str:
    """What belongs to a source below DEST is called by this."""
    return hashlib.sha256(source.encode()).hexdigest()


def clips_key(source: str) -> str:
    """Where the encoded clips of a source wait to be packed."""
    return CLIPS + part_name(source)


def index_key(source: str) -> str:
    """Where the packet index of a source, or of its encoded clips, is kept."""
    return f"{PARTS}{part_name(source)}.parquet"


def cut(job: Job) -> Record:
    """Look at a source, write its clips to DEST, and say what became of it.

    Raises StorageError if SRC or DEST fail altogether; faults of the source are in the record.
    """
    clips: list[dict[str, Any]] = []
    left: list[Left] = []
    with tempfile.TemporaryDirectory(prefix="vidgen-") as folder:
        part = _Part(Path(folder))
        try:
            with open_footage(job.src, job.stat, job.options) as footage:
                _look(job, footage, part, clips, left)
                indexes = [footage.source] if isinstance(footage, Indexed) else part.indexes
        except (NotFoundInStore, AccessDenied) as error:
            return record(job, [], [Left(reason=Reason.UNREADABLE.value, detail=str(error))])
        except Rejected as error:
            return record(job, [], [Left(reason=error.reason.value, detail=error.detail)])
        if not clips:
            return record(job, [], left)
        if part.size:
            job.dest.write(clips_key(job.stat.key), part.path)
        job.dest.write(index_key(job.stat.key), encode_index(indexes))
        done = record(job, clips, left)
        return dataclasses.replace(done, part=part.digest(), part_bytes=part.size)


def record(job: Job, clips: list[dict[str, Any]], left: list[Left]) -> Record:
    """The journal line for a job."""
    return Record(
        source=job.stat.key,
        etag=job.stat.etag,
        size=job.stat.size,
        options=job.options.fingerprint(),
        clips=clips,
        left=left,
    )


class _Part:
    """Encoded clips one after the other in a file, and the packet index of each."""

    def __init__(self, folder: Path) -> None:
        self.path, self._clip = folder / "part", folder / "clip.mp4"
        self._hash = hashlib.sha256()
        self.size = 0
        self.indexes: list[Source] = []

    def add(self, data: bytes) -> dict[str, Any]:
        """Where the clip is, as manifest columns."""
        self._clip.write_bytes(data)
        store = LocalStore(self._clip.parent)
        source = index_source(store, store.stat(self._clip.name))
        moved = dataclasses.replace(source.packets, offset=source.packets.offset + self.size)
        self.indexes.append(dataclasses.replace(source, packets=moved))
        place = {"offset": self.size, "bytes": len(data), "packets": len(self.indexes) - 1}
        with self.path.open("ab") as file:
            file.write(data)
        self._hash.update(data)
        self.size += len(data)
        return {**place, "sha256": hashlib.sha256(data).hexdigest()}

    def digest(self) -> str:
        return self._hash.hexdigest() if self.size else ""


def _look(
    job: Job,
    footage: Footage,
    part: _Part,
    clips: list[dict[str, Any]],
    left: list[Left],
) -> None:
    options, key = job.options, job.stat.key
    _check(key, footage.info, options)
    box = None if options.letterbox == "keep" else find_box(footage.glimpses())
    if box is not None and options.letterbox == "reject":
        raise Rejected(Reason.LETTERBOXED, f"{key}: black bars leave {box.width:.0%} x "
                       f"{box.height:.0%} of the picture")  # fmt: skip
    shortest = max(2, round(options.min_seconds * options.fps))
    for piece in _pieces(footage, box, options):
        start_s = piece.start / options.fps
        if len(piece.frames) < shortest:
            seconds = f"{len(piece.frames) / options.fps:.2f} s"
            problem: tuple[Reason, str] | None = (
                Reason.TOO_SHORT,
                f"{seconds}, under {options.min_seconds:g} s",
            )
        else:
            missing = footage.missing(piece.start, len(piece.frames)) / len(piece.frames)
            quality = measure(piece.frames)
            problem = _too_many_missing(missing, options) or fault(quality, options)
        if problem is not None:
            reason, text = problem
            left.append(Left(reason=reason.value, detail=f"{key}: {text}", start_s=start_s))
            continue
        if options.output == "pack":
            data = encode_mp4(
                piece.frames, options.fps, crf=options.crf, keyframe_every=options.keyframe_every
            )
            place = part.add(data)
        else:
            shown = hashlib.sha256(piece.frames.tobytes()).hexdigest()
            place = {"offset": 0, "bytes": 0, "packets": 0, "sha256": shown}
        found = _describe(job, piece.frames, quality, footage.info)
        clips.append(
            {"start_s": start_s, "missing": round(missing, 4), "box": str(box or ""), **place}
            | found
        )
    for first, why in footage.lost:
        left.append(Left(reason=Reason.CORRUPT.value, detail=why, start_s=first / options.fps))
    footage.check()


def _pieces(footage: Footage, box: Box | None, options: PrepareOptions) -> Iterator[Piece]:
    """Clips between cuts and frames that cannot be read."""
    length = max(1, round(options.clip_seconds * options.fps))
    first = 0

    def counted(group: Iterator[Frames | None]) -> Iterator[Frames]:
        nonlocal first
        for frame in group:
            first += 1
            if frame is not None:
                yield frame

    for lost, group in groupby(footage.frames(box), key=lambda frame: frame is None):
        start = first
        for piece in pieces(counted(group), length=length, shots=options.shots and not lost):
            yield dataclasses.replace(piece, start=start + piece.start)


def _check(key: str, info: VideoInfo, options: PrepareOptions) -> None:
    """What the first frame and the header are enough for."""
    if min(info.width, info.height) < options.min_side:
        size = f"{info.width}x{info.height}"
        raise Rejected(Reason.TOO_SMALL, f"{key}: {size}, under {options.min_side} pixels")
    if 0 < info.fps < options.min_source_fps:
        raise Rejected(
            Reason.LOW_RATE, f"{key}: {info.fps:g} fps, under {options.min_source_fps:g}"
        )


def _too_many_missing(share: float, options: PrepareOptions) -> tuple[Reason, str] | None:
    repaired = options.missing == "interpolate" and options.output == "pack"
    most = 1.0 if options.missing == "keep" else options.max_missing if repaired else 0.0
    if share <= most:
        return None
    return Reason.MISSING_FRAMES, f"{share:.0%} of its frames are lost or damaged"


def _describe(job: Job, frames: Frames, quality: Quality, info: VideoInfo) -> dict[str, Any]:
    """Manifest columns that follow from a clip's frames and its source."""
    options = job.options
    return {
        "source": job.stat.key,
        "duration_s": len(frames) / options.fps,
        "frames": len(frames),
        "fps": options.fps,
        "width": options.width,
        "height": options.height,
        **{
            name: round(getattr(quality, name), 6)
            for name in ("motion", "brightness", "blur", "noise", "frozen")
        },
        "alike": signature(frames),
        "source_width": info.width,
        "source_height": info.height,
        "source_fps": round(info.fps, 6),
        "source_codec": info.codec,
    }
