"""When memory runs out: which knob to turn, in the order of what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from vidgen.config.run import RunConfig
from vidgen.engine.distributed import Ranks
from vidgen.engine.strategy import Strategy, device_bytes, gigabytes
from vidgen.errors import TrainingError


@contextmanager
def naming_the_knob(config: RunConfig, ranks: Ranks, strategy: Strategy) -> Iterator[None]:
    """Turns running out of memory inside into a TrainingError that says what to change."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        clips = -(-config.train.batch_size // (ranks.world * config.train.accumulate))
        raise TrainingError(
            f"out of memory: {clips} clips of {config.data.frames}x{config.data.height}x"
            f"{config.data.width} at a time do not fit in {gigabytes(device_bytes(ranks))}",
            fix=memory_advice(config, ranks.world, strategy),
        ) from error


def is_out_of_memory(error: RuntimeError) -> bool:
    """On a GPU a type says so, on a CPU only the words do."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def memory_advice(config: RunConfig, world: int, strategy: Strategy) -> str:
    """The next thing to do: free of cost first, then slower steps, then another model."""
    train = config.train
    if train.batch_size // (world * train.accumulate) > 1:
        return f"Set train.accumulate={2 * train.accumulate}: the same steps in smaller parts."
    if not train.recompute:
        return "Set train.recompute=true: about a third more arithmetic for far less memory."
    if strategy.kind == "ddp" and world > 1:
        return "Set scale.strategy=fsdp: ranks share the state instead of each keeping all of it."
    return "Use more ranks with scale.strategy=fsdp, smaller clips (data.*) or a smaller model."
