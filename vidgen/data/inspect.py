"""What is in a prepared data set, and what about it looks wrong."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vidgen.config.run import StorageConfig
from vidgen.data.alike import near_duplicates
from vidgen.data.dataset import Dataset, open_dataset
from vidgen.data.fetch import WindowReader, window_of
from vidgen.data.index_file import how_indexed
from vidgen.data.manifest import SPLITS, read_rejects
from vidgen.data.picture import Frames
from vidgen.errors import DataError
from vidgen.storage.open import open_store

_BINS = 8
_SIDE = 96  # pixels, of the pictures of a contact sheet


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A clip to look at: (T, H, W, 3) uint8, and what is known of it."""

    frames: Frames
    title: str


def inspect(url: str, storage: StorageConfig | None = None) -> dict[str, Any]:
    """Counts, histograms, rejects and warnings as JSON values.

    Raises DataError or StorageError as `open_dataset` does.
    """
    dataset = open_dataset(url, storage)
    summary = dataset.summary
    rejects = read_rejects(dataset.store)
    table = dataset.table
    indexed = [] if summary.originals is None else how_indexed(dataset.store)
    return {
        "url": dataset.store.url,
        "originals": summary.originals,
        "indexed": dict(Counter(how for _, how in indexed).most_common()),
        "width": summary.width,
        "height": summary.height,
        "fps": summary.fps,
        "sources": summary.sources.model_dump(),
        "splits": {name: _split(dataset, name) for name in SPLITS},
        "labels": dict(Counter(_texts(dataset, "label")).most_common()),
        "codecs": dict(Counter(_texts(dataset, "source_codec")).most_common()),
        "diversity": _diversity(dataset),
        "duplicates": _duplicates(dataset),
        "stages": [stage.model_dump() for stage in summary.stages],
        "histograms": {
            "duration_s": _histogram(table["duration_s"].to_numpy()),
            "caption_words": _histogram(_words(dataset)),
            "motion": _histogram(table["motion"].to_numpy()),
            "brightness": _histogram(table["brightness"].to_numpy()),
            "blur": _histogram(table["blur"].to_numpy()),
            "noise": _histogram(table["noise"].to_numpy()),
            "source_height": _histogram(table["source_height"].to_numpy()),
            "source_width": _histogram(table["source_width"].to_numpy()),
            "source_fps": _histogram(table["source_fps"].to_numpy()),
        },
        "rejects": [
            {"source": r.source, "reason": r.reason.value, "detail": r.detail, "start_s": r.start_s}
            for r in rejects
        ],
        "rejects_by_reason": summary.rejects,
        "warnings": _warnings(dataset) + _slow(indexed),
    }


def glimpses(dataset: Dataset, count: int, storage: StorageConfig | None = None) -> list[Glimpse]:
    """Frames of `count` clips spread over the data set; those that do not decode are left out."""
    height = min(_SIDE, dataset.summary.height)
    width = max(1, round(height * dataset.summary.width / dataset.summary.height))
    summary = dataset.summary
    read = WindowReader(
        dataset.store,
        dataset.store if summary.originals is None else open_store(summary.originals, storage),
        fps=summary.fps,
        size=(height, width),
        fit=summary.options.get("fit", "crop") if summary.originals else "crop",
    )
    found = []
    total = dataset.table.num_rows
    for number in np.unique(np.linspace(0, total - 1, min(count, total)).astype(int)):
        row = dataset.rows.take([int(number)])[0]
        with suppress(DataError):
            frames = read(window_of(row, 0, row.frames, summary.fps))
            title = " - ".join(filter(None, (row.split, row.label, row.caption or row.name)))
            found.append(Glimpse(frames=frames, title=title))
    return found


def _split(dataset: Dataset, name: str) -> dict[str, Any]:
    split = dataset.split(name)
    return {
        "clips": len(split),
        "sources": len(set(split.table["source"].to_pylist())),
        "seconds": round(float(split.column("duration_s").sum()), 3),
        "captions": len({text for text in split.table["caption"].to_pylist() if text}),
        "labels": dict(Counter(x for x in split.table["label"].to_pylist() if x).most_common()),
    }


def _warnings(dataset: Dataset) -> list[str]:
    """What a model would learn wrongly, or a score would get wrong."""
    found = []
    captions, labels = _texts(dataset, "caption"), _texts(dataset, "label")
    clips = dataset.table.num_rows
    if not captions:
        found.append("no clip has a caption: a text-conditioned model has nothing to learn from")
    elif len(captions) < clips:
        found.append(f"{clips - len(captions)} of {clips} clips have no caption")
    if labels and len(labels) < clips:
        found.append(f"{clips - len(labels)} of {clips} clips have no label")
    for name in SPLITS:
        if not len(dataset.split(name)):
            found.append(f"split {name} is empty: prepare at least three sources")
    found += _balance(dataset, labels) + _leaks(dataset) + _one_sided(dataset)
    per_source = Counter(dataset.table["source"].to_pylist())
    source, most = per_source.most_common(1)[0]
    if len(per_source) > 4 and most > clips * 0.25:
        found.append(f"{most / clips:.0%} of the clips come from one source, {source}")
    brightness = dataset.table["brightness"].to_numpy()
    for what, share in (("dark", brightness < 0.1), ("bright", brightness > 0.9)):
        if share.mean() > 0.2:
            found.append(f"{share.mean():.0%} of the clips are nearly {what} all over")
    rejected = dataset.summary.sources.rejected
    tried = rejected + dataset.summary.sources.kept
    if rejected > 0.1 * tried:
        found.append(f"{rejected} of {tried} videos were rejected: see rejects.jsonl")
    return found


def _diversity(dataset: Dataset) -> dict[str, Any]:
    """How many different values clips have of what can be told apart, and how many as even as
    theirs would be: 2 labels, one of which nearly all clips have, count as little more than 1.
    """
    found: dict[str, Any] = {}
    for column in ("source", "caption", "label", "scene", "action", "objects"):
        counts = Counter(_texts(dataset, column))
        if counts:
            shares = np.array(list(counts.values())) / counts.total()
            even = float(np.exp(-(shares * np.log(shares)).sum()))
            found[column] = {"different": len(counts), "effective": round(even, 2)}
    words = Counter(w for text in _texts(dataset, "caption") for w in text.lower().split())
    found["words"] = {"different": len(words), "most": dict(words.most_common(20))}
    return found


def _duplicates(dataset: Dataset) -> dict[str, int]:
    """Clips whose like is in the data set: the same frames, or nearly the same in another source.

    Prepare leaves such clips out unless it is told to keep them.
    """
    table = dataset.table
    same = Counter(_texts(dataset, "sha256"))
    sources = table["source"].to_pylist()
    near = {
        clip
        for pair in near_duplicates(table["alike"].to_pylist())
        for clip in pair
        if sources[pair[0]] != sources[pair[1]]
    }
    return {"same": sum(count - 1 for count in same.values()), "near": len(near)}


def _one_sided(dataset: Dataset) -> list[str]:
    """Labels that a model could tell by something else: one source, or one brightness."""
    found = []
    table = dataset.table
    labels, sources = table["label"].to_pylist(), table["source"].to_pylist()
    by_label: dict[str, list[int]] = {}
    for row, label in enumerate(labels):
        if label:
            by_label.setdefault(label, []).append(row)
    alone = [
        n for n, rows in by_label.items() if len(rows) > 3 and len({sources[r] for r in rows}) == 1
    ]
    if alone and len(by_label) > 1:
        found.append(f"all clips of a label come from one source: {', '.join(sorted(alone)[:5])}")
    brightness = table["brightness"].to_numpy()
    means = [float(brightness[rows].mean()) for rows in by_label.values() if len(rows) > 3]
    if len(means) > 1:
        within = float(np.mean([brightness[r].std() for r in by_label.values() if len(r) > 3]))
        if max(means) - min(means) > max(0.1, 4 * within):
            found.append("labels differ in brightness: a model could tell them by that alone")
    return found


def _slow(indexed: list[tuple[str, str]]) -> list[str]:
    """Sources of an index data set that cannot be read by range."""
    slow = [key for key, how in indexed if how == "demuxed each time"]
    if not slow:
        return []
    return [
        f"{len(slow)} of {len(indexed)} sources are read from their start for every clip, such as "
        f"{slow[0]}: remux them to MP4 or prepare with output=pack"
    ]


def _balance(dataset: Dataset, labels: list[str]) -> list[str]:
    counts = Counter(labels)
    found = []
    if len(counts) > 1:
        (most, many), (least, few) = counts.most_common()[0], counts.most_common()[-1]
        if many > 5 * few:
            found.append(f"labels are unbalanced: {many} clips of '{most}', {few} of '{least}'")
    trained = set(dataset.split("train").table["label"].to_pylist())
    for name in SPLITS[1:]:
        unseen = set(dataset.split(name).table["label"].to_pylist()) - trained - {""}
        if unseen:
            found.append(f"split {name} has labels that train lacks: {', '.join(sorted(unseen))}")
    return found


def _leaks(dataset: Dataset) -> list[str]:
    """The same video or caption in train and in a split that is held out."""
    found = []
    for column, what in (("sha256", "clips"), ("caption", "captions")):
        trained = set(dataset.split("train").table[column].to_pylist()) - {""}
        for name in SPLITS[1:]:
            values = [x for x in dataset.split(name).table[column].to_pylist() if x]
            shared = sum(value in trained for value in values)
            if shared:
                found.append(f"{shared} of {len(values)} {what} of split {name} are in train too")
    return found


def _texts(dataset: Dataset, column: str) -> list[str]:
    return [text for text in dataset.table[column].to_pylist() if text]


def _words(dataset: Dataset) -> NDArray[np.int64]:
    return np.array([len(text.split()) for text in dataset.table["caption"].to_pylist()])


def _histogram(values: NDArray[Any]) -> dict[str, Any]:
    """Counts between equally spaced edges, with minimum, median and maximum."""
    counts, edges = np.histogram(values, bins=_BINS)
    return {
        "counts": counts.tolist(),
        "edges": [round(float(edge), 6) for edge in edges],
        "min": float(values.min()),
        "median": float(np.median(values)),
        "max": float(values.max()),
    }
