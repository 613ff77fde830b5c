"""Exponential moving average of the weights, used for samples, scores and export."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from vidgen.engine.sharding import parts


class Ema:
    """Averaged copies of a model's trainable weights; frozen parts and buffers are shared.

    The decay warms up as (1 + n) / (10 + n), so that a short run is not mostly its random start.
    With decay 0 there is no copy and the average is the live model.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        trained = {n: p for n, p in model.named_parameters() if p.requires_grad} if decay else {}
        self.averaged: dict[str, Tensor] = {n: p.detach().clone() for n, p in trained.items()}
        self._live: list[Tensor] = list(trained.values())
        self._copies = list(self.averaged.values())

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Follow the weights after step `step` (from 0)."""
        if self._copies:
            decay = min(self.decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(parts(self._copies), parts(self._live), 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The live model holds the averaged weights inside, bit-exactly its own again after."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for live, copy in zip(self._live, self._copies, strict=True):
            if isinstance(live, DTensor):  # sharding knows the memory: its content is exchanged
                (here, there) = parts([live, copy])
                kept = here.clone()
                here.copy_(there)
                there.copy_(kept)
            else:
                live.data, copy.data = copy.data, live.data
