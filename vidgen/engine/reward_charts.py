"""The charts of a reward run: what rose, what had to stay, and how far it went from the start."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vidgen.observe.curves import Chart, Points, Series, draw


def reward_charts(names: Iterable[str], column: Callable[[str], Points]) -> list[Chart | None]:
    """Charts of the numbers that metrics.jsonl has.

    Args:
        names: of all numbers.
        column: (step, value) pairs of one.
    """
    known = list(names)

    def series(name: str, shown: str, **style: bool) -> Series:
        return Series(name=shown, points=column(name), **style)

    def validated(prefix: str) -> list[Series]:
        """Those of a prefix, and what the start has of each."""
        return [
            series(name, _shown(name), dots=True)
            for name in known
            if name.startswith(prefix) and not name.endswith("_error")
        ]

    if "reward" not in known:
        return []
    parts = [
        series(name, name.removeprefix("reward_"), smooth=True)
        for name in known
        if name.startswith("reward_")
    ]
    both = [
        series("reward", "training", smooth=True),
        series("val_reward", "held out", dots=True),
        series("val_reward_start", "the start, held out", dots=True),
    ]
    moved = [series("kl", "training", smooth=True), series("val_moved", "held out", dots=True)]
    return [
        draw("Reward", both),
        draw("Reward by part", parts) if len(parts) > 1 else None,
        draw("Guards, on held-out conditions", validated("val_guard_")),
        draw("Diversity of two videos of a condition", validated("val_diversity")),
        draw("Distance from the start", moved),
        draw("Groups whose videos all score the same", [series("alike", "share", smooth=True)]),
    ]


def _shown(name: str) -> str:
    return name.removeprefix("val_").removeprefix("guard_").replace("_start", " of the start")
