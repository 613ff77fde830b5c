"""How ranks share a model: chosen by what its state needs against what a device has."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from vidgen.config.run import OptimizerConfig, RunConfig
from vidgen.engine.distributed import Ranks
from vidgen.errors import ConfigError
from vidgen.models.base import Objective

Kind = Literal["ddp", "fsdp", "hsdp"]

_ROOM = 0.6  # of a device's memory for the state; activations need the rest
_CGROUP = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, kw_only=True)
class Strategy:
    """What is shared and why.

    Attributes:
        kind: ddp keeps the state whole on every rank.
        replicas: groups of ranks that hold the whole state together; the world under ddp.
        why: in words.
    """

    kind: Kind
    replicas: int
    why: str


def choose_strategy(config: RunConfig, objective: Objective, ranks: Ranks) -> Strategy:
    """The strategy that the config names, or under 'auto' the one that moves the least bytes.

    Raises ConfigError if ranks cannot be grouped for hsdp.
    """
    need = state_bytes(objective, config.optimizer, averaged=bool(config.train.ema_decay))
    return _choose(config, need, device_bytes(ranks), ranks)


def _choose(config: RunConfig, need: int, have: int, ranks: Ranks) -> Strategy:
    wanted, room = config.scale.strategy, _ROOM * have
    group = config.scale.shard_ranks or ranks.local
    state = f"{gigabytes(need)} of state"
    if ranks.world == 1:
        fits = "fits" if need <= room else "leaves little room"
        return Strategy(kind="ddp", replicas=1, why=f"{state} {fits} in {gigabytes(have)}: 1 rank")
    groups = ranks.world // group if ranks.world % group == 0 else 0
    kind: Kind
    if wanted != "auto":
        kind, why = wanted, f"scale.strategy={wanted}: {state} on {gigabytes(have)}"
    elif need <= room:
        kind, why = "ddp", f"{state} fits in {gigabytes(have)}: ddp"
    elif groups > 1 and need / group <= room:
        kind, why = "hsdp", f"{state} fits in {group} x {gigabytes(have)}: hsdp"
    else:
        kind = "fsdp"
        fits = "fits" if need / ranks.world <= room else "leaves little room"
        why = f"{state} {fits} in {ranks.world} x {gigabytes(have)}: fsdp"
    if kind == "hsdp" and groups < 2:
        raise ConfigError(
            f"scale.strategy=hsdp needs several groups of ranks: {ranks.world} ranks, "
            f"{group} in a group",
            fix="Set scale.shard_ranks to a divisor of the ranks, or scale.strategy=fsdp.",
        )
    replicas = {"ddp": ranks.world, "fsdp": 1, "hsdp": groups}[kind]
    return Strategy(kind=kind, replicas=replicas, why=why)


def state_bytes(objective: Objective, optimizer: OptimizerConfig, *, averaged: bool) -> int:
    """Weights, gradients, moments, averages and buffers, all fp32, of one whole copy."""
    moments = 2 if optimizer.name in ("adam", "adamw") else 1
    trained, averages = _trained(objective), _trained(objective.model) if averaged else 0
    frozen = sum(w.numel() for w in objective.parameters() if not w.requires_grad)
    buffers = sum(b.numel() for b in objective.buffers())
    return 4 * (trained * (2 + moments) + averages + frozen + buffers)


def _trained(network: nn.Module) -> int:
    return sum(w.numel() for w in network.parameters() if w.requires_grad)


def device_bytes(ranks: Ranks) -> int:
    """Memory of a rank's device; on a CPU its share of the machine's, or of the container's."""
    if ranks.device.type == "cuda":
        return torch.cuda.mem_get_info(ranks.device)[1]
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if _CGROUP.is_file() and (limit := _CGROUP.read_text().strip()).isdigit():
        total = min(total, int(limit))
    return total // ranks.local


def gigabytes(count: float) -> str:
    """'40 GB', '4.1 GB', '23 MB'."""
    if count < 1e8:
        return f"{count / 1e6:.2g} MB"
    return f"{count / 1e9:.0f} GB" if count >= 1e10 else f"{count / 1e9:.1f} GB"
