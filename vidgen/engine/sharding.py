"""A model whose weights, gradients and optimizer state are spread over ranks (FSDP2), in place."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from vidgen.engine.distributed import Ranks
from vidgen.models.base import Objective


class Sharded(nn.Module):
    """An objective with every block, and the rest as one more, spread over ranks.

    Weights are whole only while they are used. What uses weights outside the blocks must run in
    `forward`, which calls a method of the objective by name, or inside `gathered`.

    Args:
        objective: on any device; its parameters become DTensors under their old names.
        replicas: how many ranks hold the same part: 1 for fsdp.
    """

    def __init__(self, objective: Objective, ranks: Ranks, *, replicas: int = 1) -> None:
        super().__init__()
        self.objective = objective
        shape, names = (ranks.world // replicas,), ("shard",)
        mesh = (
            init_device_mesh(ranks.device.type, shape, mesh_dim_names=names)
            if replicas == 1
            else init_device_mesh(
                ranks.device.type, (replicas, *shape), mesh_dim_names=("replicate", *names)
            )
        )
        for block in objective.blocks():
            fully_shard(block, mesh=mesh)
        fully_shard(self, mesh=mesh)
        self.to(ranks.device)  # buffers

    def forward(self, method: str, *args: Any) -> Any:
        return getattr(self.objective, method)(*args)

    def reduce_gradients(self, now: bool) -> None:
        """Whether the next backward pass sums gradients over ranks, or only here."""
        cast(FSDPModule, self).set_requires_gradient_sync(now)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Every rank holds all weights inside and may use them without the others."""
        modules = [m for m in self.modules() if isinstance(m, FSDPModule)]
        for module in modules:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()
        try:
            yield
        finally:
            for module in modules:
                module.set_reshard_after_forward(id(module) != id(self), recurse=False)
                module.reshard()


def parts(tensors: Sequence[Tensor]) -> list[Tensor]:
    """What this rank holds of each tensor: a view."""
    return [t.to_local() if isinstance(t, DTensor) else t for t in tensors]


def whole(tensor: Tensor) -> Tensor:
    """The full tensor on every rank; called on every rank."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
