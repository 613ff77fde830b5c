"""How much arithmetic a training step is, and how much the device can do: their ratio is the MFU.

MFU (arXiv:2204.02311) counts what the model needs, not what recomputation adds, against the rate of
a large matrix product measured on this device in this number format.
"""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidgen.config.run import RunConfig
from vidgen.engine.precision import Kind
from vidgen.models.base import build_objective
from vidgen.types import Batch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIDE = {"cuda": 8192, "cpu": 768}  # of the matrices
_TRIES = 4


class StepFlops:
    """Floating-point operations of a step, counted on a copy of the model that has no memory.

    `unknown` says why there is no count for a model that cannot be built or run that way.
    """

    def __init__(self, config: RunConfig) -> None:
        self._per_clip: dict[tuple[int, ...], float] = {}
        self.unknown: str | None = None
        try:
            with torch.device("meta"):
                self._objective = build_objective(config).train()
        except (NotImplementedError, RuntimeError) as error:
            self.unknown = str(error).splitlines()[0]

    def of(self, batch: Batch) -> float:
        """Operations of all turns, forward and backward, on a batch; 0 if unknown."""
        if self.unknown is not None:
            return 0.0
        shape = tuple(batch.video.shape[1:])
        if shape not in self._per_clip:
            try:
                self._per_clip[shape] = self._count(batch[:1].to("meta"))
            except (NotImplementedError, RuntimeError) as error:
                self.unknown = str(error).splitlines()[0]
                return 0.0
        return self._per_clip[shape] * len(batch)

    def _count(self, clip: Batch) -> float:
        with FlopCounterMode(display=False) as counter:
            for name, network in self._objective.turns().items():
                self._objective.requires_grad_(False)
                network.requires_grad_(True)
                self._objective.loss(name, clip, 0).total.backward()  # type: ignore[no-untyped-call]
        return float(counter.get_total_flops())


def matmul_rate(device: torch.device, kind: Kind) -> float:
    """Operations per second of a large matrix product: the fastest of a few."""
    side = _SIDE[device.type]
    a = torch.ones(side, side, device=device, dtype=_DTYPES[kind])
    best = 0.0
    for _ in range(_TRIES):
        began = _now(device)
        a @ a
        best = max(best, 2 * side**3 / (_now(device) - began))
    return best


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
