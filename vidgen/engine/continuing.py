"""Which run a config means, and whether it may go on with what is trained there already."""

from __future__ import annotations

import platform
import time
from importlib.metadata import version
from typing import Any

from vidgen import __version__
from vidgen.config.load import dump, leaves
from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset, frame_rate
from vidgen.data.ensure import ensure_dataset
from vidgen.engine.cheating import progress_of
from vidgen.engine.codec import with_codec
from vidgen.engine.export import is_exported
from vidgen.engine.start import check_start
from vidgen.errors import ConfigError
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import CONFIG, RunFolder

# Keys that may differ when a run goes on: none of them changes what a step computes.
# fmt: off
_FREE = (
    "run", "description", "versions", "scale", "storage", "sampling", "evaluate",
    "data.loader_workers", "data.prefetch", "data.cache", "data.cache_bytes", "train.steps",
    "train.accumulate", "train.log_every", "train.validate_every", "train.validate_clips",
    "train.sample_every", "train.samples", "train.checkpoint_every", "train.keep_checkpoints",
    "train.keep_best", "train.save_patience_s", "train.hang_timeout_s",
    "train.recompute", "train.compile", "early_stop",
)
# fmt: on


def prepare_run(config: RunConfig, resume: str | None) -> RunConfig:
    """Settle folder, labels and versions, and write config.yaml; everything cheap that can fail.

    Raises ConfigError when the folder holds checkpoints of a run with another config.
    """
    url = resume or config.run or f"runs/{config.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder = RunFolder(url, config.storage)
    exists = folder.exists()
    if resume is not None and not exists:
        folder.config()  # raises, saying what is missing
    config, _ = with_dataset(config)
    check_start(config)
    config = config.model_copy(update={"run": folder.url, "versions": _versions()})
    if exists and folder.checkpoint_steps():
        _check_continues(folder, config)
    folder.store.write(CONFIG, dump(config).encode())
    return config


def with_dataset(config: RunConfig) -> tuple[RunConfig, Dataset]:
    """The data set, made first if it is a synthetic one, and the config with what it and the
    model's codec decide."""
    dataset = ensure_dataset(config)
    for split in ("train", "val"):
        dataset.usable(split, config)  # raises now rather than at the first validation
    data = config.data.model_copy(
        update={
            "labels": tuple(dataset.labels),
            "fps": frame_rate(dataset.summary, config),
            "url": config.data.url and open_store(config.data.url, config.storage).url,
        }
    )
    return with_codec(config.model_copy(update={"data": data})), dataset


def finished_step(config: RunConfig) -> int | None:
    """The last step of a run that has nothing left to do, else None."""
    assert config.run is not None
    folder = RunFolder(config.run, config.storage)
    steps = folder.checkpoint_steps()
    if not steps or not is_exported(folder):
        return None
    if steps[-1] >= config.train.steps or progress_of(config, folder.metrics()).ended():
        return steps[-1]
    return None


def _check_continues(folder: RunFolder, config: RunConfig) -> None:
    before, now = _fixed(folder.config()), _fixed(config)
    for key in sorted(before.keys() | now.keys()):
        old, new = before.get(key), now.get(key)
        if old != new:
            raise ConfigError(
                f"{folder.url} holds a run with {key}={old!r}, and this config has {new!r}",
                fix="Choose another folder with --set run=..., or go on with "
                f"`vidgen train --resume {folder.url}`, which keeps its config.",
            )


def _fixed(config: RunConfig) -> dict[str, Any]:
    """Values of a config that must not change, by dotted key."""
    return {
        key: value
        for key, value in leaves(config).items()
        if not any(key == free or key.startswith(f"{free}.") for free in _FREE)
    }


def _versions() -> dict[str, str]:
    return {
        "vidgen": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "ray")},
    }
