"""A trained model out of a run folder, for `generate`, `evaluate` and everyone else."""

from __future__ import annotations

import sys

import torch
from safetensors.torch import load

from vidgen.config.run import RunConfig, StorageConfig
from vidgen.engine.checkpoint import load_checkpoint
from vidgen.engine.distributed import Ranks
from vidgen.engine.export import is_exported
from vidgen.engine.weights import weights_step
from vidgen.errors import CheckpointError
from vidgen.models.base import VideoModel, build_objective
from vidgen.storage.run_folder import EXPORT, RunFolder


def load_model(
    run_url: str,
    step: int | None = None,
    *,
    storage: StorageConfig | None = None,
    device: torch.device | str = "cpu",
) -> tuple[VideoModel, RunConfig]:
    """The averaged weights of a run, in eval mode, and the run's config.

    Args:
        run_url: run folder, local or s3://.
        step: a checkpoint's step; empty: the export of a finished run, else the newest checkpoint.

    Raises:
        NotFoundInStore: this is no run folder.
        CheckpointError: nothing has been saved yet, no such step, or the files are damaged.
    """
    folder = RunFolder(run_url, storage)
    config = folder.config()
    objective = build_objective(config)
    model = objective.model
    if step is None and is_exported(folder):
        weights = load(folder.store.read(EXPORT))
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise CheckpointError(
                f"{folder.url}/{EXPORT} does not fit its config: {error}"
            ) from None
    else:
        folder.checkpoint(step)  # raises, saying what there is
        trained = {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}
        averaged = trained if config.train.ema_decay else {}
        others = {
            name: value
            for name, value in objective.state_dict().items()
            if name.startswith("model.") and name.removeprefix("model.") not in averaged
        }
        tree = {"objective": others, "ema": averaged}
        load_checkpoint(folder, lambda: tree, Ranks(), say=_warn, step=step)
    return model.to(device).eval(), config


def load_here(
    folder: RunFolder, step: int | None, storage: StorageConfig | None
) -> tuple[VideoModel, int]:
    """`load_model` onto this machine's GPU, or its CPU, and the step the weights are from."""
    trained = weights_step(folder, step)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, _ = load_model(folder.url, step, storage=storage, device=device)
    return model, trained


def _warn(text: str) -> None:
    print(f"warning: {text}", file=sys.stderr)
