"""A turn: one network's share of a step, on one rank or averaged over many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vidgen.engine.distributed import Ranks
from vidgen.engine.sharding import Sharded
from vidgen.models.base import Objective
from vidgen.types import Batch, Losses


class Turn:
    """Computes losses of one turn of an objective and the gradients of its network alone.

    Args:
        objective: owns the network and the loss.
        name: the turn, a key of `objective.turns()`.
        optimizer: over the network's weights.
        ranks: who averages gradients.
        sharded: the objective, when it is spread over ranks.
    """

    def __init__(
        self,
        objective: Objective,
        name: str,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks,
        sharded: Sharded | None = None,
    ) -> None:
        network = objective.turns()[name]
        self.name = name
        self.optimizer = optimizer
        self.weights = [w for w in network.parameters() if w.requires_grad]
        own = set(self.weights)
        self._others = [w for w in objective.parameters() if w.requires_grad and w not in own]
        self._sharded = sharded
        self.losses: Callable[[Batch, int], Losses] = _Losses(objective, name, network)
        if sharded is not None:
            self._others = []  # sharding reads once what needs gradients; `zero_grad` drops them
            self.losses = partial(sharded, "loss", name)
        elif ranks.world > 1:
            self.losses = DistributedDataParallel(
                self.losses,
                device_ids=[ranks.device] if ranks.device.type == "cuda" else None,
                broadcast_buffers=False,
                gradient_as_bucket_view=True,
            )

    @property
    def prefix(self) -> str:
        """Of this turn's names in the metrics: empty for the model's own turn."""
        return "" if self.name == "model" else f"{self.name}_"

    @contextmanager
    def training_only(self) -> Iterator[None]:
        """No other network of the objective gathers gradients inside."""
        for weight in self._others:
            weight.requires_grad_(False)
        try:
            yield
        finally:
            for weight in self._others:
                weight.requires_grad_(True)

    def parts(self, batch: Batch, count: int) -> Iterator[Batch]:
        """The batch in `count` parts, equally many on every rank.

        Gradients are summed over ranks during the last part's backward pass, not before.
        """
        for n in range(count):
            part = batch[n * len(batch) // count : (n + 1) * len(batch) // count]
            with self._sync(n == count - 1):
                yield part

    def _sync(self, now: bool) -> AbstractContextManager[object]:
        if self._sharded is not None:
            self._sharded.reduce_gradients(now)
        if now or not isinstance(self.losses, DistributedDataParallel):
            return nullcontext()
        return self.losses.no_sync()


class _Losses(nn.Module):
    """A forward pass for DDP to wrap: around the network, never inside the objective, whose
    state-dict keys therefore stay what they are."""

    def __init__(self, objective: Objective, name: str, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._compute = partial(objective.loss, name)

    def forward(self, batch: Batch, step: int) -> Losses:
        return self._compute(batch, step)
