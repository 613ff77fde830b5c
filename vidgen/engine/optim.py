"""From OptimizerConfig to a torch optimizer over one network."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vidgen.config.run import OptimizerConfig


def build_optimizer(config: OptimizerConfig, network: nn.Module) -> torch.optim.Optimizer:
    """An optimizer over the trainable weights of `network`, with its fastest implementation.

    Weight decay is for matrices and convolutions alone, not for norms, biases and embeddings.
    """
    decayed, kept = _split(network)
    groups = [
        {"params": weights, "weight_decay": decay}
        for weights, decay in ((decayed, config.weight_decay), (kept, 0.0))
        if weights
    ]
    if config.name == "sgd":
        return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=True)
    if config.name == "rmsprop":  # has no fused kernel
        return torch.optim.RMSprop(
            groups, lr=config.lr, momentum=config.momentum, eps=config.eps, foreach=True
        )
    kind = torch.optim.AdamW if config.name == "adamw" else torch.optim.Adam
    return kind(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr


def _split(network: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Trainable weights that decay, and those that do not."""
    embeddings = {
        weight
        for module in network.modules()
        if isinstance(module, nn.Embedding)
        for weight in module.parameters(recurse=False)
    }
    decayed: list[Tensor] = []
    kept: list[Tensor] = []
    for weight in network.parameters():
        if weight.requires_grad:
            (kept if weight.ndim < 2 or weight in embeddings else decayed).append(weight)
    return decayed, kept
