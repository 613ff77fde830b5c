"""The exporter's part of reward fine-tuning: what rose, what had to stay, how far it went."""

from __future__ import annotations

from collections.abc import Mapping

from vidgen.observe import metric_table as table
from vidgen.observe.board import Board

_ONE_EACH = {"kl": table.REWARD_KL, "val_moved": table.REWARD_MOVED}
_BY_PART = {"reward": table.REWARD, "val_reward": table.VALIDATION_REWARD}
_START = "_start"  # ends the names of what the start has
_GUARD = "val_guard_"


def set_rewards(board: Board, values: Mapping[str, float]) -> None:
    """Set what a line of metrics.jsonl says about rewards; nothing where it says nothing."""
    for name, value in values.items():
        if name in _ONE_EACH:
            board.set(_ONE_EACH[name], value)
        for prefix, metric in _BY_PART.items():
            if name == prefix:
                board.set(metric, value, part="total")
            elif name.startswith(f"{prefix}_"):
                board.set(metric, value, part=name.removeprefix(f"{prefix}_"))
        first = values.get(name + _START)
        if not first:  # not a number of ours, or nothing to be a share of
            continue
        if name.startswith(_GUARD):
            board.set(table.REWARD_GUARD, value / first, part=name.removeprefix(_GUARD))
        elif name == "val_diversity":
            board.set(table.REWARD_DIVERSITY, value / first)
