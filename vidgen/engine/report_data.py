"""The data section of a report: counts, splits, histograms, what is odd about a run's clips."""

from __future__ import annotations

from typing import Any

from vidgen.config.run import RunConfig
from vidgen.data.ensure import dataset_url
from vidgen.data.inspect import inspect
from vidgen.errors import DataError, StorageError
from vidgen.observe.curves import short
from vidgen.observe.report import DataSection, Fact, Grid, Histogram

TITLES = {
    "duration_s": "clip length, s",
    "caption_words": "words in a caption",
    "source_fps": "source frame rate",
}
_MOST = 20  # rows of a table of counts


def data_section(config: RunConfig) -> DataSection:
    """What `vidgen data inspect` finds; only the config's own words where the data set is gone."""
    url, made = dataset_url(config), config.data.synthetic
    if made is not None and config.data.url is None:
        facts = [Fact(name="Made", value="captioned moving shapes")]
        facts += [Fact(name="Drawn", value=f"{made.clips:,}")]
        facts += [Fact(name="Seed", value=str(made.seed))]
    else:
        facts = [Fact(name="Data set", value=str(url))]
    if url is None:
        return DataSection(facts=facts)
    try:
        found = inspect(url, config.storage)
    except (DataError, StorageError) as error:
        return DataSection(facts=[*facts, Fact(name="Contents", value=f"not readable: {error}")])
    return _shown(found, facts)


def _shown(found: dict[str, Any], facts: list[Fact]) -> DataSection:
    sources = found["sources"]
    clips = sum(row["clips"] for row in found["splits"].values())
    seconds = sum(row["seconds"] for row in found["splits"].values())
    facts = [
        *facts,
        Fact(name="Clips", value=f"{clips:,}"),
        Fact(name="Together", value=_length(seconds)),
        Fact(name="Size", value=f"{found['width']}x{found['height']} at {found['fps']:g} fps"),
        Fact(
            name="Sources",
            value=f"{sources['seen']:,} seen = {sources['kept']:,} kept + "
            f"{sources['rejected']:,} rejected + {sources['skipped']:,} not video",
        ),
    ]
    rows = [
        [name, f"{row['clips']:,}", f"{row['sources']:,}", _length(row["seconds"]),
         f"{row['captions']:,}", f"{len(row['labels']):,}"]
        for name, row in found["splits"].items()
    ]  # fmt: skip
    counts = [
        _counts(title, head, found[key])
        for title, head, key in (
            ("Clips by label", "label", "labels"),
            ("Clips by codec of the source", "codec", "codecs"),
            ("Left out, by reason", "reason", "rejects_by_reason"),
        )
        if found[key]
    ]
    return DataSection(
        facts=facts,
        splits=Grid(head=["split", "clips", "sources", "length", "captions", "labels"], rows=rows),
        histograms=[_histogram(name, row) for name, row in found["histograms"].items()],
        counts=counts,
        warnings=found["warnings"],
    )


def _counts(title: str, head: str, counts: dict[str, int]) -> Grid:
    rows = [[name, f"{count:,}"] for name, count in list(counts.items())[:_MOST]]
    left = len(counts) - len(rows)
    if left:
        rows.append([f"and {left} more", ""])
    return Grid(head=[head, "clips" if head != "reason" else "sources"], rows=rows, note=title)


def _histogram(name: str, row: dict[str, Any]) -> Histogram:
    tallest = max(row["counts"])
    return Histogram(
        name=TITLES.get(name, name.replace("_", " ")),
        bars=[round(100 * count / tallest, 1) for count in row["counts"]],
        low=_number(row["min"]),
        middle=_number(row["median"]),
        high=_number(row["max"]),
    )


def _number(value: float) -> str:
    """Short enough to stand below a small histogram with two others: '1080', '0.0081'."""
    return short(value if abs(value) >= 1 else float(f"{value:.2g}"))


def _length(seconds: float) -> str:
    """'48 s', '12 min', '3.4 h'."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
