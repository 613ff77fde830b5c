"""What `inspect` found, as a page of its own and as a section of a run's report."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

from vidgen import __version__
from vidgen.data.encode import encode_mp4
from vidgen.data.inspect import Glimpse
from vidgen.observe.curves import short
from vidgen.observe.report import (
    DataPage,
    DataSection,
    Fact,
    Grid,
    Histogram,
    Video,
    render_data,
)

TITLES = {
    "duration_s": "clip length, s",
    "caption_words": "words in a caption",
    "source_fps": "source frame rate",
}
_MOST = 20  # rows of a table of counts
_MOST_REJECTS = 200


def page(found: dict[str, Any], seen: Sequence[Glimpse]) -> str:
    """The page as HTML, with the clips that were looked at."""
    url = found["url"]
    return render_data(
        DataPage(
            name=url.rstrip("/").rpartition("/")[2],
            url=url,
            data=section(found),
            stages=_stages(found["stages"]),
            diversity=_diversity(found),
            rejects=_rejects(found["rejects"]),
            clips=[
                Video(data=encode_mp4(clip.frames, found["fps"]), title=clip.title) for clip in seen
            ],
            made_with=__version__,
            made_at=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d %H:%M} UTC",
        )
    )


def _stages(stages: Sequence[dict[str, Any]]) -> Grid:
    counts = ("seen", "kept", "rejected", "skipped")
    rows = [
        [
            stage["stage"],
            stage["of"],
            *(f"{stage[key]:,}" for key in counts),
            ", ".join(f"{count} {why}" for why, count in stage["reasons"].items()),
        ]
        for stage in stages
    ]
    return Grid(head=["stage", "of", *counts, "why"], rows=rows)


def _diversity(found: dict[str, Any]) -> Grid:
    rows = [
        [name, f"{row['different']:,}", f"{row['effective']:,.4g}" if "effective" in row else ""]
        for name, row in found["diversity"].items()
    ]
    copies = found["duplicates"]
    note = f"Copies among the clips: {copies['same']} the same, {copies['near']} nearly the same."
    return Grid(head=["", "different", "worth as many evenly used ones"], rows=rows, note=note)


def _rejects(rejects: Sequence[dict[str, Any]]) -> Grid | None:
    rows = [[each["reason"], each["detail"]] for each in rejects[:_MOST_REJECTS]]
    left = len(rejects) - len(rows)
    note = f"and {left:,} more in rejects.jsonl" if left else ""
    return Grid(head=["reason", "what"], rows=rows, note=note) if rows else None


def section(found: dict[str, Any], facts: Sequence[Fact] = ()) -> DataSection:
    """Facts, splits, histograms and warnings, after the facts that are given."""
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
