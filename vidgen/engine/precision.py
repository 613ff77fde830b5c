"""Number formats: which one, autocast, loss scaling, and the optimizer step they share."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import torch
from torch import Tensor, nn

from vidgen.engine.sharding import whole
from vidgen.errors import ConfigError

Kind = Literal["fp32", "bf16", "fp16"]


def choose_precision(wanted: str, device: torch.device) -> Kind:
    """'auto': bf16 where the GPU has it (A100 and newer), fp16 on older GPUs, fp32 on CPU.

    Raises ConfigError for fp16 without a GPU.
    """
    if wanted == "auto":
        if device.type != "cuda":
            return "fp32"
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if wanted == "fp16" and device.type != "cuda":
        raise ConfigError(
            "train.precision: fp16 needs a GPU and this rank trains on the CPU",
            fix="Set train.precision=auto.",
        )
    return wanted  # type: ignore[return-value]


class Precision:
    """Weights stay fp32; the forward pass runs in `kind`; fp16 gradients are scaled."""

    def __init__(self, kind: Kind, device: torch.device) -> None:
        self.kind: Kind = kind
        self.device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=kind == "fp16")
        self._saved: dict[str, Tensor] = {}

    def autocast(self) -> AbstractContextManager[object]:
        if self.kind == "fp32":
            return nullcontext()
        dtype = torch.bfloat16 if self.kind == "bf16" else torch.float16
        return torch.autocast(self.device.type, dtype=dtype)

    def backward(self, loss: Tensor) -> None:
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(
        self, optimizer: torch.optim.Optimizer, weights: Iterable[nn.Parameter], clip_norm: float
    ) -> Tensor:
        """Clip, update and return the gradient norm before clipping, a scalar on the device."""
        self.scaler.unscale_(optimizer)
        gradients = [w.grad for w in weights if w.grad is not None]
        norm = whole(torch.nn.utils.get_total_norm(gradients))
        if clip_norm:
            torch.nn.utils.clip_grads_with_norm_(weights, clip_norm, norm)
        self.scaler.step(optimizer)
        self.scaler.update()
        return norm

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, to write and to read into: the loss scale of fp16."""
        self._saved = {k: torch.tensor(float(v)) for k, v in self.scaler.state_dict().items()}
        return self._saved

    def load(self) -> None:
        """Take over what was read into the last `tensors()`."""
        if self._saved:
            values: dict[str, float] = {k: v.item() for k, v in self._saved.items()}
            values["_growth_tracker"] = int(values["_growth_tracker"])
            self.scaler.load_state_dict(values)
