"""From OptimizerConfig to a torch optimizer over one network."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from vidgen.config.run import OptimizerConfig
from vidgen.errors import ConfigError


def build_optimizer(
    config: OptimizerConfig, network: nn.Module, *, name: str = "model"
) -> torch.optim.Optimizer:
    """An optimizer over the trainable weights of `network`, with its fastest implementation.

    Weight decay is for matrices and convolutions alone, not for norms, biases and embeddings.

    Args:
        name: of the network in its objective, which the patterns of `config.groups` begin with.
    """
    groups = _groups(config, network, name)
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    if config.name == "rmsprop":  # has no fused kernel
        return torch.optim.RMSprop(
            groups, lr=config.lr, momentum=config.momentum, eps=config.eps, foreach=True
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def check_groups(config: OptimizerConfig, objective: nn.Module) -> None:
    """Raise ConfigError for a group that no trainable weight is in."""
    names = [name for name, weight in objective.named_parameters() if weight.requires_grad]
    for group in config.groups:
        if not any(fnmatchcase(each, group.match) for each in names):
            tops = sorted({".".join(each.split(".")[:2]) for each in names})
            raise ConfigError(
                f"optimizer.groups: no weight is called {group.match!r}",
                expected=f"a pattern for names that begin with {', '.join(tops)}",
            )


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate; groups keep their ratios to it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("ratio", 1.0)


def _groups(config: OptimizerConfig, network: nn.Module, name: str) -> list[dict[str, Any]]:
    """Trainable weights by learning rate and weight decay."""
    embeddings = {
        weight
        for module in network.modules()
        if isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
    }
    found: dict[tuple[float, float], list[Tensor]] = {}
    for key, weight in network.named_parameters(prefix=name):
        if not weight.requires_grad:
            continue
        own = next((g for g in config.groups if fnmatchcase(key, g.match)), None)
        ratio = own.lr if own is not None else 1.0
        decay = config.weight_decay
        if own is not None and own.weight_decay is not None:
            decay = own.weight_decay
        if weight.ndim < 2 or weight in embeddings:
            decay = 0.0
        found.setdefault((ratio, decay), []).append(weight)
    return [
        {"params": weights, "weight_decay": decay, "ratio": ratio, "lr": config.lr * ratio}
        for (ratio, decay), weights in sorted(found.items(), key=lambda each: each[0], reverse=True)
    ]
