"""How much arithmetic a training step is, and how much the device can do: their ratio is the MFU.

MFU (arXiv:2204.02311) counts what the model needs, not what recomputation adds, against the rate of
a large matrix product measured on this device in this number format.
"""

from __future__ import annotations

import time

import torch
from torch.utils.flop_counter import FlopCounterMode

from vidgen.config.run import RunConfig
from vidgen.engine.memory import is_out_of_memory
from vidgen.engine.objective import objective_of
from vidgen.engine.precision import Kind
from vidgen.types import Batch

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_SIDE = {"cuda": 8192, "cpu": 768}  # of the matrices
_TRIES = 4


class StepFlops:
    """Floating-point operations of a step, counted on a second model that sees one clip.

    A model may look at its input, so the clip is a real one and the model is no mere outline; it is
    gone after the count. `unknown` says why there is no count when there is no room for it.
    """

    def __init__(self, config: RunConfig, device: torch.device) -> None:
        self._config, self._device = config, device
        self._per_clip: dict[tuple[int, ...], float] = {}
        self.unknown: str | None = None if config.reward is None else "rollouts are of many lengths"

    def of(self, batch: Batch) -> float:
        """Operations of all turns, forward and backward, on a batch; 0 if unknown."""
        shape = tuple(batch.video.shape[1:])
        if shape not in self._per_clip and self.unknown is None:
            try:
                self._per_clip[shape] = self._count(batch[:1].to(self._device))
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                self.unknown = "no memory for a second model, in which they are counted"
        return self._per_clip.get(shape, 0.0) * len(batch)

    def _count(self, clip: Batch) -> float:
        with torch.random.fork_rng(devices=[]):
            objective = objective_of(self._config).to(self._device).eval()
        with FlopCounterMode(display=False) as counter:
            for name, network in objective.turns().items():
                objective.requires_grad_(False)
                for weight in network.parameters():
                    weight.requires_grad_(True)
                objective.loss(name, clip, 0).total.backward()  # type: ignore[no-untyped-call]
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
