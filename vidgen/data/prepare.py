"""From a folder of raw videos to a data set: find, cut, split, write.

Sources are cut in parallel; what became of each is kept in a journal, and the data set is written
from the journal alone. So a run that was killed goes on, and its result has the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any

from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import StorageConfig
from vidgen.data.captions import Note, read_notes
from vidgen.data.cut import Job, Left, Record, cut, record
from vidgen.data.index_file import PARTS
from vidgen.data.journal import Journal
from vidgen.data.manifest import (
    REJECTS,
    SPLITS,
    SUMMARY,
    DatasetSummary,
    Reject,
    Row,
    SourceCounts,
    read_summary,
    write_dataset,
    write_rejects,
)
from vidgen.data.originals import find_clips, number_sources, part_key
from vidgen.data.pool import Pool, WorkerError, WorkerTimeout
from vidgen.data.reasons import Reason
from vidgen.data.sources import Found, claims_video, find_sources, no_video
from vidgen.data.split import assign_splits
from vidgen.errors import DataError, Interrupted
from vidgen.storage.base import Store
from vidgen.storage.open import open_store


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far prepare is, in sources."""

    done: int
    total: int
    clips: int
    rejected: int

    def after(self, *items: Record) -> Progress:
        """Progress once these records are there too."""
        return Progress(
            done=self.done + len(items),
            total=self.total,
            clips=self.clips + sum(len(item.clips) for item in items),
            rejected=self.rejected + sum(not item.clips for item in items),
        )


def prepare(
    src: str,
    dest: str,
    options: PrepareOptions | None = None,
    *,
    storage: StorageConfig | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DatasetSummary:
    """Make a data set of the videos below `src`. Call it again to go on after a kill.

    Raises:
        NotFoundInStore, DataError: no SRC, no video in it, none that can be used, or DEST holds
            clips of another shape.
        StorageError: SRC or DEST cannot be read or written.
        Interrupted: Ctrl-C; what is done is kept.
    """
    options = options or PrepareOptions()
    source_store, dest_store = open_store(src, storage), open_store(dest, storage)
    found = find_sources(source_store, leave_out=dest_store)
    notes = read_notes(source_store, (stat.key for stat in found.videos), found.others)
    _check_same_shape(dest_store, options)
    journal = Journal(dest_store)
    done = _still_good(journal.load(), found, dest_store, options)
    todo = [
        Job(src=source_store, dest=dest_store, stat=stat, options=options)
        for stat in found.videos
        if stat.key not in done
    ]
    if todo:
        dest_store.delete(SUMMARY)  # not a data set while its clips change
    state = Progress(done=0, total=len(found.videos), clips=0, rejected=0).after(*done.values())
    try:
        for item in _run(todo, options):
            done[item.source] = item
            if not _retry(item):
                journal.add(item)
            if progress:
                progress(state := state.after(item))
    except KeyboardInterrupt:
        journal.save()
        raise Interrupted(
            f"stopped after {len(done)} of {len(found.videos)} sources",
            fix="The same command goes on from here.",
        ) from None
    journal.save()
    summary = _write(source_store, dest_store, found, notes, done, options)
    journal.compact([item for item in done.values() if not _retry(item)])
    _remove_unused(dest_store, done)
    return summary


def _run(todo: list[Job], options: PrepareOptions) -> Iterator[Record]:
    """Cut every source, in any order; a process that dies costs its source alone."""
    workers = options.workers or len(os.sched_getaffinity(0))
    work = find_clips if options.output == "index" else cut
    with Pool(work, workers=min(workers, len(todo) or 1), timeout_s=options.timeout_s) as pool:
        for outcome in pool.run(todo):
            if isinstance(outcome.error, WorkerError):
                late = isinstance(outcome.error, WorkerTimeout)
                reason = Reason.TIMEOUT if late else Reason.CRASHED
                detail = f"{outcome.task.stat.key}: {outcome.error}"
                yield record(outcome.task, [], [Left(reason=reason.value, detail=detail)])
            else:
                yield outcome.get()


def _retry(item: Record) -> bool:
    """Whether a later run should try the source again: its fault may lie outside of it."""
    again = (Reason.UNREADABLE.value, Reason.CRASHED.value, Reason.TIMEOUT.value)
    return any(left.reason in again for left in item.left)


def _still_good(
    records: dict[str, Record], found: Found, dest: Store, options: PrepareOptions
) -> dict[str, Record]:
    """The records of an earlier run that hold: same file, same options, clips still there."""
    if not records:
        return {}
    sizes = {stat.key: stat.size for stat in dest.list("clips/")}
    parts = {stat.key for stat in dest.list(PARTS)}
    fingerprint = options.fingerprint()
    good = {}
    for stat in found.videos:
        item = records.get(stat.key)
        if (
            item is not None
            and (item.etag, item.size, item.options) == (stat.etag, stat.size, fingerprint)
            and all(
                sizes.get(clip["clip"]) == clip["bytes"]
                if clip["clip"]
                else part_key(stat.key) in parts
                for clip in item.clips
            )
        ):
            good[stat.key] = item
    return good


def _write(
    src: Store,
    dest: Store,
    found: Found,
    notes: dict[str, Note],
    done: dict[str, Record],
    options: PrepareOptions,
) -> DatasetSummary:
    """The data set's files, from what became of each source."""
    kept = [key for key, item in done.items() if item.clips]
    splits = assign_splits(kept, notes, shares=options.split, seed=options.seed)
    numbers = number_sources(dest, kept) if options.output == "index" else {}
    rows, rejects, skipped = [], list(found.rejects), found.skipped
    rejected = {reject.source for reject in rejects}
    for key, item in done.items():
        note = notes.get(key, Note())
        extra = json.dumps(note.extra, sort_keys=True, ensure_ascii=False)
        for clip in item.clips:
            told: dict[str, Any] = {"caption": note.caption, "label": note.label, "extra": extra}
            rows.append(Row(**clip, **told, split=splits[key], packets=numbers.get(key, -1)))
        if not item.clips:
            if item.left[0].reason == Reason.NOT_VIDEO.value and not claims_video(key):
                skipped += 1
                continue
            rejected.add(key)
        rejects += [
            Reject(source=key, reason=Reason(x.reason), detail=x.detail, start_s=x.start_s)
            for x in item.left
        ]
    reasons = Counter(reject.reason.value for reject in rejects)
    if not rows and not rejected:
        raise no_video(src, skipped)
    if not rows:
        write_rejects(dest, rejects)
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        raise DataError(
            f"none of the {len(rejected)} videos in {src.url} can be used: {why}",
            fix=f"See {dest.where(REJECTS)}.",
        )
    per_split = Counter(row.split for row in rows)
    summary = DatasetSummary(
        width=options.width,
        height=options.height,
        fps=options.fps,
        labels=tuple(sorted({row.label for row in rows} - {""})),
        sources=SourceCounts(
            seen=len(kept) + len(rejected) + skipped,
            kept=len(kept),
            rejected=len(rejected),
            skipped=skipped,
        ),
        clips={name: per_split[name] for name in SPLITS},
        rejects=dict(sorted(reasons.items())),
        options=options.model_dump(mode="json", exclude={"workers", "timeout_s"}),
        originals=src.url if options.output == "index" else None,
    )
    write_dataset(dest, rows, rejects, summary)
    return summary


def _check_same_shape(dest: Store, options: PrepareOptions) -> None:
    """Refuse to replace a finished data set by one of another shape."""
    try:
        before = read_summary(dest).options
    except DataError:
        return
    for key, value in options.cutting().items():
        if before.get(key) != value:
            raise DataError(
                f"{dest.url} holds a data set prepared with {key}={before.get(key)}, not {value}",
                fix="Prepare into another folder, or delete this one first.",
            )


def _remove_unused(dest: Store, done: dict[str, Record]) -> None:
    """Delete what no row names: of sources that are gone, changed or turned out damaged."""
    used = {clip["clip"] for item in done.values() for clip in item.clips}
    used |= {part_key(key) for key, item in done.items() if item.clips}
    files = chain(dest.list("clips/"), dest.list(PARTS))
    unused = [stat.key for stat in files if stat.key not in used]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(dest.delete, unused))
