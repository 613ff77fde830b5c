"""A bench in a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from vidgen.engine.bench import Bench


def print_bench(found: Bench, console: Console) -> None:
    """Print a row per setting, then the verdict."""
    table = Table(
        "batch", "steps", "first frame", "per video", "per frame", "frames/s", "p50", "p95",
        "first call", "memory", "real time", box=None, pad_edge=False, header_style="dim",
    )  # fmt: skip
    for t in found.timings:
        table.add_row(
            str(t.batch),
            "-" if t.steps is None else str(t.steps),
            seconds(t.first_frame_s),
            seconds(t.per_video_s),
            seconds(t.per_frame_s),
            f"{t.frames_per_s:.1f}",
            seconds(t.p50_s),
            seconds(t.p95_s),
            seconds(t.first_call_s),
            f"{t.peak_bytes / 1e6:,.0f} MB",
            f"{t.real_time:.2f}x",
        )
    console.print(table)
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
