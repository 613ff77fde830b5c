"""How often a judge reads out of a video what was asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vidgen.metrics.interval import wilson

Attributes = dict[str, str]  # such as {"colour": "red", "direction": "left"}


class Agreement(Metric):
    """Right answers per attribute, and videos where all are right; merges across ranks.

    Args:
        names: the attributes that count.
    """

    higher_is_better = True
    full_state_update = False
    right: Tensor
    total: Tensor

    def __init__(self, names: tuple[str, ...], **settings: Any) -> None:
        super().__init__(**settings)
        self.names = names
        self.add_state("right", torch.zeros(len(names) + 1, dtype=torch.int64), "sum")
        self.add_state("total", torch.zeros((), dtype=torch.int64), "sum")

    def update(self, asked: list[Attributes], seen: list[Attributes]) -> None:
        """Add videos: what each was asked to show, and what the judge saw in it."""
        for wanted, found in zip(asked, seen, strict=True):
            marks = [wanted[name] == found[name] for name in self.names]
            self.right += torch.tensor([*marks, all(marks)], device=self.right.device)
            self.total += 1

    def compute(self) -> Tensor:
        """Shares of right answers: each attribute's, then all at once. NaN without videos."""
        return self.right / self.total

    def shares(self) -> dict[str, tuple[float, tuple[float, float]]]:
        """Share and 95 % Wilson interval by attribute name, and of 'all'."""
        n = int(self.total)
        return {
            name: (int(right) / n, wilson(int(right), n))
            for name, right in zip((*self.names, "all"), self.right, strict=True)
        }
