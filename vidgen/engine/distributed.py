"""Ranks: the processes that train one model together, and what they must agree on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from vidgen.errors import VidgenError

Value = TypeVar("Value")


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among its peers.

    Attributes:
        rank, world: which of how many.
        device: where this rank computes.
        local: how many of them are on this machine.
        control: a gloo group for small agreements on the CPU, beside the gradients' group, so that
            no agreement waits for the GPU; None when alone.
        saving: another one, for checkpoints that are written while training goes on.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    local: int = 1
    control: dist.ProcessGroup | None = None
    saving: dist.ProcessGroup | None = None

    @property
    def lead(self) -> bool:
        return self.rank == 0

    def total(self, values: Tensor) -> Tensor:
        """Sum over ranks, float64 on the CPU."""
        values = values.detach().to("cpu", torch.float64)
        if self.control is not None:
            dist.all_reduce(values, group=self.control)
        return values

    def gather(self, value: Value) -> list[Value]:
        """Every rank's value, on every rank."""
        if self.control is None:
            return [value]
        found: list[Value | None] = [None] * self.world
        dist.all_gather_object(found, value, group=self.control)
        return found  # type: ignore[return-value]

    def gather_to_lead(self, value: Value) -> list[Value]:
        """Every rank's value on rank 0; nothing on the others."""
        if self.control is None:
            return [value]
        found: list[Value | None] | None = [None] * self.world if self.lead else None
        dist.gather_object(value, found, group=self.control)
        return found or []  # type: ignore[return-value]

    def each(self, make: Callable[[], Value]) -> list[Value]:
        """What `make` returns on each rank, on every rank; an error of any is raised on all."""
        found: Value | Exception
        try:
            found = make()
        except VidgenError as error:
            found = error
        except Exception as error:
            self.gather(RuntimeError(f"rank {self.rank}: {type(error).__name__}: {error}"))
            raise
        values = self.gather(found)
        for each in values:
            if isinstance(each, Exception):
                raise each
        return values  # type: ignore[return-value]

    def from_lead(self, make: Callable[[], Value]) -> Value:
        """What `make` returns on rank 0, on every rank. A VidgenError is raised on every rank."""
        found: Value | VidgenError | None = None
        if self.lead:
            try:
                found = make()
            except VidgenError as error:
                found = error
        found = self.gather(found)[0]
        if isinstance(found, VidgenError):
            raise found
        return found  # type: ignore[return-value]

    def barrier(self) -> None:
        if self.control is not None:
            dist.barrier(group=self.control)


class Vote:
    """What any rank wishes, agreed while the step computes: no rank ever waits for it.

    `open` sends this rank's wishes, `close` returns the names of those that some rank has; a wish
    made in between counts in the next vote.
    """

    def __init__(self, ranks: Ranks, **wishes: Callable[[], bool]) -> None:
        self._ranks, self._wishes = ranks, wishes
        self._flags = torch.zeros(len(wishes))
        self._work: dist.Work | None = None

    def open(self) -> None:
        if self._ranks.control is not None:
            self._flags = torch.tensor([float(wish()) for wish in self._wishes.values()])
            self._work = dist.all_reduce(
                self._flags, op=dist.ReduceOp.MAX, group=self._ranks.control, async_op=True
            )

    def close(self) -> set[str]:
        if self._work is None:
            return {name for name, wish in self._wishes.items() if wish()}
        self._work.wait()
        return {name for name, flag in zip(self._wishes, self._flags.tolist(), strict=True) if flag}


@contextmanager
def join_ranks(device: torch.device | None = None) -> Iterator[Ranks]:
    """Join the process group that exists (Ray Train), or torchrun's, or stay alone.

    Args:
        device: where to compute; empty: this rank's GPU if there is one, else the CPU.
    """
    if device is None:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    started = not dist.is_initialized() and int(os.environ.get("WORLD_SIZE", "1")) > 1
    if started:
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        if not dist.is_initialized() or dist.get_world_size() == 1:
            yield Ranks(device=device)
        else:
            yield Ranks(
                rank=dist.get_rank(),
                world=dist.get_world_size(),
                device=device,
                local=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
                control=dist.new_group(backend="gloo"),
                saving=dist.new_group(backend="gloo"),
            )
    finally:
        if started:
            dist.destroy_process_group()
