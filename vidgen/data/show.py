"""Data sets on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from vidgen.data.manifest import DatasetSummary

_BLOCKS = " ▁▂▃▄▅▆▇█"


def summary_lines(summary: DatasetSummary) -> list[str]:
    """A prepared data set in a few lines."""
    n, clips = summary.sources, summary.clips
    size = f"{summary.width}x{summary.height} at {summary.fps:g} fps"
    lines = [
        f"{sum(clips.values())} clips of {size}: "
        + ", ".join(f"{count} {name}" for name, count in clips.items()),
        f"{n.seen} files seen = {n.kept} kept + {n.rejected} rejected + {n.skipped} not video",
    ]
    if summary.rejects:
        why = ", ".join(f"{count} {reason}" for reason, count in summary.rejects.items())
        lines.append(f"left out: {why} (rejects.jsonl)")
    return lines


def show_inspection(found: dict[str, Any]) -> None:
    """Print what `inspect` found."""
    console = Console(markup=False, highlight=False)
    n = found["sources"]
    console.print(f"{found['url']}: {found['width']}x{found['height']} at {found['fps']:g} fps")
    console.print(
        f"{n['seen']} files seen = {n['kept']} kept + {n['rejected']} rejected "
        f"+ {n['skipped']} not video\n"
    )
    if found["originals"]:
        how = ", ".join(f"{count} {name}" for name, count in found["indexed"].items())
        console.print(f"reads from {found['originals']}; packet index: {how}\n")
    splits = Table("split", "clips", "sources", "seconds", "captions", "labels", box=None)
    for name, row in found["splits"].items():
        splits.add_row(
            name,
            *(str(row[key]) for key in ("clips", "sources")),
            f"{row['seconds']:.0f}",
            str(row["captions"]),
            str(len(row["labels"])),
        )
    console.print(splits)
    stages = Table("stage", "of", "seen", "kept", "rejected", "skipped", "why", box=None)
    for row in found["stages"]:
        why = ", ".join(f"{count} {reason}" for reason, count in row["reasons"].items())
        counts = (str(row[key]) for key in ("seen", "kept", "rejected", "skipped"))
        stages.add_row(row["stage"], row["of"], *counts, why)
    console.print(stages)
    histograms = Table("clips by", "", "min", "median", "max", box=None)
    for name, row in found["histograms"].items():
        top = max(row["counts"])
        blocks = "".join(_BLOCKS[-(-count * 8 // top)] for count in row["counts"])
        histograms.add_row(name, blocks, *(f"{row[key]:.3g}" for key in ("min", "median", "max")))
    console.print(histograms)
    for title, counts in (
        ("label", found["labels"]),
        ("codec", found["codecs"]),
        ("left out", found["rejects_by_reason"]),
    ):
        if counts:
            table = Table(title, "count", box=None)
            for name, count in counts.items():
                table.add_row(Text(name), str(count))
            console.print(table)
    for reject in found["rejects"][:20]:
        console.print(Text(f"  {reject['reason']}: {reject['detail']}"))
    if len(found["rejects"]) > 20:
        console.print(f"  ... and {len(found['rejects']) - 20} more in rejects.jsonl")
    for warning in found["warnings"]:
        console.print(Text(f"warning: {warning}", style="yellow"))
