"""`output: index`: clips that stay in their original files, found through packet indexes.

Nothing is copied. Prepare reads every clip once, as training will, and keeps the packet index of
each source; a manifest row says which source and from when.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from fractions import Fraction
from typing import Any

from vidgen.data.cut import Job, Left, Record, check, describe, moving, record
from vidgen.data.index_file import PARTS, encode_index, read_index, write_index
from vidgen.data.indexing import index_source
from vidgen.data.packets import Source
from vidgen.data.reader import ClipReader
from vidgen.data.reasons import Reason, Rejected
from vidgen.data.video import VideoInfo
from vidgen.errors import AccessDenied, NotFoundInStore
from vidgen.storage.base import Store


def part_key(source: str) -> str:
    """Where prepare keeps the packet index of one source, below DEST."""
    return f"{PARTS}{hashlib.sha256(source.encode()).hexdigest()}.parquet"


def find_clips(job: Job) -> Record:
    """Index a source, look at each of its clips, and say what became of it.

    Raises StorageError if SRC or DEST fail altogether; faults of the source are in the record.
    """
    clips: list[dict[str, Any]] = []
    left: list[Left] = []
    try:
        source = index_source(job.src, job.stat, max_pixels=job.options.max_pixels)
        _look(job, source, clips, left)
    except (NotFoundInStore, AccessDenied) as error:
        return record(job, [], [Left(reason=Reason.UNREADABLE.value, detail=str(error))])
    except Rejected as error:
        return record(job, [], [Left(reason=error.reason.value, detail=error.detail)])
    if not clips:
        left = [replace(left[0], start_s=None)]
    else:
        job.dest.write(part_key(source.key), encode_index([source]))
    return record(job, clips, left)


def number_sources(dest: Store, sources: Iterable[str]) -> dict[str, int]:
    """Make the data set's index files of the parts; returns each source's number."""
    ordered = sorted(sources)

    def parts() -> Iterator[Source]:
        with ThreadPoolExecutor(16) as pool:
            for at in range(0, len(ordered), 256):  # never more than these in memory
                for data in pool.map(dest.read, map(part_key, ordered[at : at + 256])):
                    yield from read_index(data)

    write_index(dest, parts())
    return {source: number for number, source in enumerate(ordered)}


def _look(job: Job, source: Source, clips: list[dict[str, Any]], left: list[Left]) -> None:
    options, key = job.options, source.key
    rate = Fraction(options.fps).limit_denominator(100_000)
    height, width = source.displayed
    info = VideoInfo(
        container=source.container,
        codec=source.codec.name,
        pixel_format=source.codec.pix_fmt,
        width=width,
        height=height,
        rotation=90 * source.turns,
        fps=len(source.times) / source.duration_s if source.duration_s else 0.0,
        duration_s=source.duration_s,
    )
    check(key, info, options)
    frames = max(
        1, int(Fraction(source.duration_s).limit_denominator(10**6) * rate + Fraction(1, 2))
    )
    length = max(1, round(options.clip_seconds * options.fps))
    shortest = max(2, round(options.min_seconds * options.fps))
    if frames < shortest:
        found = f"{key}: {frames / options.fps:.2f} s"
        raise Rejected(Reason.TOO_SHORT, f"{found}, under {options.min_seconds:g} s")
    reader = ClipReader(job.src, max_pixels=options.max_pixels)
    for first in range(0, frames, length):
        count, start_s = min(length, frames - first), first / options.fps
        if count < shortest:
            continue
        try:
            clip = reader.read(
                source,
                start_s=start_s,
                frames=count,
                fps=rate,
                size=(options.height, options.width),
                fit=options.fit,
            )
        except Rejected as error:
            left.append(Left(reason=error.reason.value, detail=error.detail, start_s=start_s))
            continue
        if (share := moving(clip)) < options.min_moving:
            detail = f"{key}: {share:.2%} of the picture moves"
            left.append(Left(reason=Reason.STATIC.value, detail=detail, start_s=start_s))
        else:
            row = describe(job, clip, start_s, info)
            clips.append({"clip": "", "sha256": "", "bytes": 0, **row})
