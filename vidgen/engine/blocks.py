"""What is done to a model's blocks, in place: state-dict keys stay what they are."""

from __future__ import annotations

from functools import partial

from torch.utils.checkpoint import checkpoint

from vidgen.config.run import TrainConfig
from vidgen.errors import ConfigError
from vidgen.models.base import Objective


def prepare_blocks(objective: Objective, train: TrainConfig) -> None:
    """Recompute activations (arXiv:1604.06174) and compile, as the config asks.

    Raises ConfigError if the model has no blocks to do that to.
    """
    if not (train.recompute or train.compile):
        return
    blocks = objective.blocks()
    if not blocks:
        key = "train.recompute" if train.recompute else "train.compile"
        raise ConfigError(
            f"{key} works on the blocks of a model, and {type(objective).__name__} has none",
            fix=f"Set {key}=false.",
        )
    for block in blocks:
        if train.recompute:
            block.forward = partial(checkpoint, block.forward, use_reentrant=False)
        if train.compile:
            block.compile()
