"""A bench as a table, in a terminal and on pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from vidgen.engine.bench import Bench

HEAD = [
    "batch", "steps", "first frame", "per video", "per frame", "frames/s", "p50", "p95",
    "first call", "memory", "real time",
]  # fmt: skip


def bench_rows(timings: Sequence[dict[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Column titles, and timings as stored in bench.json as texts."""
    rows = [
        [
            str(t["batch"]),
            "-" if t["steps"] is None else str(t["steps"]),
            seconds(t["first_frame_s"]),
            seconds(t["per_video_s"]),
            seconds(t["per_frame_s"]),
            f"{t['frames_per_s']:.1f}",
            seconds(t["p50_s"]),
            seconds(t["p95_s"]),
            seconds(t["first_call_s"]),
            f"{t['peak_bytes'] / 1e6:,.0f} MB",
            f"{t['real_time']:.2f}x",
        ]
        for t in timings
    ]
    return HEAD, rows


def print_bench(found: Bench, console: Console) -> None:
    """Print a row per setting, then the verdict."""
    table = Table(*HEAD, box=None, pad_edge=False, header_style="dim")
    for row in bench_rows([asdict(t) for t in found.timings])[1]:
        table.add_row(*row)
    # Wide tables are for the terminal to break, not for rich to squeeze.
    console.print(table, width=max(console.width, 108), crop=False)
    size = f"{found.frames}x{found.height}x{found.width}"
    console.print(
        f"{size}, {found.parameters / 1e6:.1f} M weights of step {found.step}, "
        f"guidance {found.guidance:g}, {found.device}, {found.threads} threads",
        style="dim",
        markup=False,
        highlight=False,
    )
    console.print(found.verdict, style="bold", highlight=False)


def seconds(value: float) -> str:
    """'12 ms', '1.24 s'."""
    return f"{1000 * value:.3g} ms" if value < 1 else f"{value:.3g} s"
