"""From a folder of raw videos to a data set: find, cut, leave out copies, split, write.

Sources are cut in parallel; what became of each is kept in a journal, and the data set is written
from the journal alone. So a run that was killed goes on, and its result has the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain

from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import StorageConfig
from vidgen.data.captions import Note, label_by_folder, read_notes
from vidgen.data.copies import Copies, find_copies
from vidgen.data.cut import CLIPS, Job, Left, Record, cut, index_key, record
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
from vidgen.data.packs import FOLDER as PACKS
from vidgen.data.packs import number, pack, places, used
from vidgen.data.pool import Outcome, Pool, WorkerError, WorkerTimeout
from vidgen.data.reasons import Reason
from vidgen.data.sources import Found, claims_video, find_sources, no_video
from vidgen.data.split import assign_splits
from vidgen.data.stages import stages
from vidgen.errors import DataError, Interrupted
from vidgen.storage.base import Store
from vidgen.storage.open import open_store

# Runs `cut` on many jobs: outcomes in any order, a dead worker's as a WorkerError.
Spread = Callable[[list[Job], PrepareOptions], Iterator[Outcome[Job, Record]]]


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


def on_this_machine(jobs: list[Job], options: PrepareOptions) -> Iterator[Outcome[Job, Record]]:
    """A process per core."""
    workers = options.workers or len(os.sched_getaffinity(0))
    workers = min(workers, len(jobs) or 1)
    with Pool[Job, Record](cut, workers=workers, timeout_s=options.timeout_s) as pool:
        yield from pool.run(jobs)


def prepare(
    src: str,
    dest: str,
    options: PrepareOptions | None = None,
    *,
    storage: StorageConfig | None = None,
    progress: Callable[[Progress], None] | None = None,
    spread: Spread = on_this_machine,
) -> DatasetSummary:
    """Make a data set of the videos below `src`. Call it again to go on after a kill.

    Args:
        spread: who does the work.

    Raises:
        NotFoundInStore, DataError: no SRC, no video in it, none that can be used, or DEST holds
            clips of another shape.
        StorageError: SRC or DEST cannot be read or written.
        Interrupted: Ctrl-C; what is done is kept.
    """
    options = options or PrepareOptions()
    source_store, dest_store = open_store(src, storage), open_store(dest, storage)
    found = find_sources(source_store, leave_out=dest_store)
    keys = [stat.key for stat in found.videos]
    notes = read_notes(source_store, keys, found.others)
    _check_same_shape(dest_store, options)
    journal = Journal(dest_store)
    done = _still_good(journal.load(), found, options)
    state = Progress(done=0, total=len(found.videos), clips=0, rejected=0).after(*done.values())
    todo = {key for key in keys if key not in done}
    while True:
        if todo:
            dest_store.delete(SUMMARY)  # not a data set while its clips change
        jobs = [
            Job(src=source_store, dest=dest_store, stat=stat, options=options)
            for stat in found.videos
            if stat.key in todo
        ]
        try:
            for item in _records(spread(jobs, options)):
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
        copies = find_copies([*done.values()], options)
        kept = [item for item in done.values() if copies.kept(item)]
        # What an earlier run wrote may have been deleted, or be no copy any more.
        todo = _without_clips(dest_store, kept, options)
        if not todo:
            break
        state = Progress(done=len(done) - len(todo), total=len(done), clips=0, rejected=0)
    labelled = label_by_folder(notes, [item.source for item in kept], options.folder_labels)
    summary = _write(source_store, dest_store, found, labelled, done, copies, options)
    journal.compact([item for item in done.values() if not _retry(item)])
    return summary


def _records(outcomes: Iterable[Outcome[Job, Record]]) -> Iterator[Record]:
    """A worker that dies costs its source alone."""
    for outcome in outcomes:
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
    records: dict[str, Record], found: Found, options: PrepareOptions
) -> dict[str, Record]:
    """The records of an earlier run that hold: same file, same options."""
    fingerprint = options.fingerprint()
    good = {}
    for stat in found.videos:
        item = records.get(stat.key)
        known = item and (item.etag, item.size, item.options)
        if item is not None and known == (stat.etag, stat.size, fingerprint):
            good[stat.key] = item
    return good


def _without_clips(dest: Store, kept: list[Record], options: PrepareOptions) -> set[str]:
    """Sources whose clips or index are not in DEST, where they should be."""
    indexes = {stat.key for stat in dest.list(PARTS)}
    gone = {item.source for item in kept if index_key(item.source) not in indexes}
    if options.output == "pack":
        there = places(dest, kept)
        gone |= {item.source for item in kept if item.source not in there}
    return gone


def _write(
    src: Store,
    dest: Store,
    found: Found,
    notes: dict[str, Note],
    done: dict[str, Record],
    copies: Copies,
    options: PrepareOptions,
) -> DatasetSummary:
    """The data set's files, from what became of each source."""
    kept = [item for item in done.values() if copies.kept(item)]
    rejects, skipped = [*found.rejects, *copies.rejects], found.skipped
    rejected = {reject.source for reject in found.rejects}
    for key, item in done.items():
        left = item.left
        if not copies.kept(item):
            if left and left[0].reason == Reason.NOT_VIDEO.value and not claims_video(key):
                skipped += 1
                continue
            rejected.add(key)
            # One line says why there is none of it, unless its clips are copies.
            left = [] if item.clips else [Left(reason=left[0].reason, detail=left[0].detail)]
        rejects += [
            Reject(source=key, reason=Reason(x.reason), detail=x.detail, start_s=x.start_s)
            for x in left
        ]
    reasons = Counter(reject.reason.value for reject in rejects)
    if not kept and not rejected:
        raise no_video(src, skipped)
    if not kept:
        write_rejects(dest, rejects)
        why = ", ".join(f"{n} {reason}" for reason, n in sorted(reasons.items()))
        raise DataError(
            f"none of the {len(rejected)} videos in {src.url} can be used: {why}",
            fix=f"See {dest.where(REJECTS)}.",
        )
    splits = assign_splits(
        [item.source for item in kept],
        notes,
        shares=options.split,
        seed=options.seed,
        alike=copies.sources,
    )
    packed = pack(dest, kept) if options.output == "pack" else {}
    first = number(dest, kept, packed)
    rows = []
    for item in kept:
        key, note, place = item.source, notes.get(item.source, Note()), packed.get(item.source)
        told = {name: getattr(note, name) for name in _TOLD}
        extra = json.dumps(note.extra, sort_keys=True, ensure_ascii=False)
        for clip in copies.clips(item):
            where = {
                "clip": place.key if place else "",
                "offset": clip["offset"] + (place.start if place else 0),
                "packets": clip["packets"] + first[key],
            }
            rows.append(Row(**{**clip, **told, **where}, split=splits[key], extra=extra))
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
        stages=tuple(stages(found, done.values(), copies.counts)),
        options=options.model_dump(mode="json", exclude={"workers", "timeout_s"}),
        originals=src.url if options.output == "index" else None,
    )
    write_dataset(dest, rows, rejects, summary)
    keep = used(packed) | {index_key(item.source) for item in kept}
    files = chain(dest.list(CLIPS), dest.list(PACKS), dest.list(PARTS))
    unused = [stat.key for stat in files if stat.key not in keep]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(dest.delete, unused))
    return summary


_TOLD = ("caption", "label", "scene", "action", "objects")


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
