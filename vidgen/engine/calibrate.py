"""The last thing a run does before it hands out its model: what the model wants to know of the data
with its final weights."""

from __future__ import annotations

import torch

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset
from vidgen.data.loader import eval_batches
from vidgen.engine.state import State


@torch.no_grad()
def calibrate(state: State, dataset: Dataset, config: RunConfig) -> None:
    """Show training clips to the averaged model; every rank the same ones."""
    model = state.objective.model
    if not model.calibration_clips:
        return
    clips = eval_batches(
        dataset,
        config,
        split="train",
        limit=model.calibration_clips,
        batch_size=config.sampling.batch_size,
        conditions=(),
    )
    state.objective.eval()
    with state.averaged():
        model.calibrate(held_out.batch.to(state.precision.device) for held_out in clips)
