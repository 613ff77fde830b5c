"""The trained model that reward fine-tuning begins with."""

from __future__ import annotations

from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.engine.load import load_model
from vidgen.errors import ConfigError
from vidgen.storage.run_folder import RunFolder


def check_start(config: RunConfig) -> None:
    """Raise ConfigError, naming the first key, when the start is of another shape than this run.

    Keys that the family calls free may differ: rollouts in fewer steps cost less.
    """
    if config.reward is None:
        return
    there = RunFolder(config.reward.start, config.storage).config()
    here = {
        **{f"model.{k}": v for k, v in config.model.model_dump(mode="json").items()},
        **{f"data.{k}": getattr(config.data, k) for k in ("frames", "height", "width", "labels")},
    }
    then = {
        **{f"model.{k}": v for k, v in there.model.model_dump(mode="json").items()},
        **{f"data.{k}": getattr(there.data, k) for k in ("frames", "height", "width", "labels")},
    }
    free = {f"model.{name}" for name in type(config.model).free}
    for key in sorted((here.keys() | then.keys()) - free):
        if here.get(key) != then.get(key):
            raise ConfigError(
                f"reward.start {config.reward.start} has {key}={then.get(key)!r}, and this config "
                f"{here.get(key)!r}",
                fix="Reward fine-tuning goes on with the same model: take over its model and data.",
            )


def starting_weights(config: RunConfig, folder: RunFolder) -> dict[str, Tensor] | None:
    """The averaged weights of `reward.start`; None for a run that has checkpoints, or no reward."""
    if config.reward is None or folder.checkpoint_steps():
        return None
    model, _ = load_model(config.reward.start, storage=config.storage)
    return dict(model.state_dict())
