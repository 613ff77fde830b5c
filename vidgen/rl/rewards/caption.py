"""The video shows what its caption asks for, as the judge of moving shapes sees it."""

from __future__ import annotations

import torch
from torch import Tensor

from vidgen.data.shapes import ATTRIBUTES
from vidgen.errors import TrainingError
from vidgen.metrics.judge import asked_for, judge
from vidgen.rl.rewards.base import Reward
from vidgen.types import Condition, decode_text


class Caption(Reward):
    """Share of the caption's attributes that the judge finds.

    Args:
        attributes: those that count; empty: all.
    """

    needs = frozenset({"text"})

    def __init__(self, attributes: tuple[str, ...] = ATTRIBUTES) -> None:
        unknown = set(attributes) - set(ATTRIBUTES)
        if unknown:
            raise TypeError(f"no attribute '{min(unknown)}'; known: {', '.join(ATTRIBUTES)}")
        self._attributes = tuple(attributes)

    def __call__(self, video: Tensor, cond: Condition) -> Tensor:
        assert cond.text is not None
        shares = []
        for row, seen in zip(cond.text.cpu(), judge(video), strict=True):
            asked = asked_for(decode_text(row))
            if asked is None:
                raise TrainingError(
                    f"reward 'caption' cannot judge '{decode_text(row)}'",
                    fix="It knows the captions of `vidgen data synth` alone; for others, give a "
                    "scorer of your own as module:function.",
                )
            right = [asked[name] == seen[name] for name in self._attributes]
            shares.append(sum(right) / len(right))
        return torch.tensor(shares)


build = Caption
