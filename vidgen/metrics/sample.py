"""A bounded sample of feature vectors that is the same however the clips were shared among ranks.

Every clip has an index; a hash of the index is its ticket, and the `limit` lowest tickets stay. Two
ranks that merge keep exactly what one rank would have kept, in the same order, and memory does not
grow with the number of clips (Broder 1997, bottom-k sketch).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from vidgen.errors import EvaluationError
from vidgen.metrics.frechet import finite

LIMIT = 10_000  # features a side; 20 MB at D = 512
# Small tensors that stay among large ones that go keep the allocator from using the room again:
# 80 MB for every thousand clips.
_PARTS = 32


class FeatureSample(Metric):
    """Base of metrics that need the features themselves: subclasses write `compute`.

    Args:
        dim: D, feature size.
        limit: features kept a side.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, dim: int, *, limit: int = LIMIT, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dim, self.limit = dim, limit
        for side in ("real", "fake"):
            self.add_state(f"{side}_features", default=[], dist_reduce_fx="cat")
            self.add_state(f"{side}_index", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, index: Tensor, *, real: bool) -> None:
        """Add (N, D) features of the clips with these (N,) global indices."""
        if features.shape != (len(index), self.dim):
            raise EvaluationError(
                f"features have shape {tuple(features.shape)}",
                expected=f"({len(index)}, {self.dim})",
            )
        side = "real" if real else "fake"
        rows: list[Tensor] = getattr(self, f"{side}_features")
        numbers: list[Tensor] = getattr(self, f"{side}_index")
        rows.append(finite(features).detach())
        numbers.append(index.to(features.device, torch.int64))
        if sum(map(len, rows)) >= 2 * self.limit:  # twice: so that sorting stays rare
            kept, at = self.sample(side)
            setattr(self, f"{side}_features", [kept])
            setattr(self, f"{side}_index", [at])
        elif len(rows) >= _PARTS:
            rows[:], numbers[:] = [torch.cat(rows)], [torch.cat(numbers)]

    def sample(self, side: str) -> tuple[Tensor, Tensor]:
        """The features kept of a side, (K, D), and their clip indices, (K,)."""
        features = self._joined(f"{side}_features", (0, self.dim), torch.float32)
        index = self._joined(f"{side}_index", (0,), torch.int64)
        order = _ticket(index).argsort(stable=True)[: self.limit]
        return features[order], index[order]

    def sync(self, *args: Any, **kwargs: Any) -> None:
        # A rank that saw no clip must still hand over tensors of the right shape.
        for side in ("real", "fake"):
            if not getattr(self, f"{side}_index"):
                setattr(self, f"{side}_features", [torch.zeros(0, self.dim, device=self.device)])
                empty = torch.zeros(0, dtype=torch.int64, device=self.device)
                setattr(self, f"{side}_index", [empty])
        super().sync(*args, **kwargs)

    def _joined(self, state: str, empty: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        value = getattr(self, state)  # a list while collecting, one tensor after a sync
        if isinstance(value, Tensor):
            return value
        return torch.cat(value) if value else torch.zeros(empty, dtype=dtype, device=self.device)


def _ticket(index: Tensor) -> Tensor:
    """A fixed pseudo-random int64 per index: the mixer of splitmix64, wrapping as int64."""
    x = index * -7046029254386353131  # 0x9E3779B97F4A7C15
    x = (x ^ _shift(x, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    x = (x ^ _shift(x, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return x ^ _shift(x, 31)


def _shift(x: Tensor, by: int) -> Tensor:
    """Logical right shift; >> on int64 copies the sign."""
    return (x >> by) & ((1 << (64 - by)) - 1)
