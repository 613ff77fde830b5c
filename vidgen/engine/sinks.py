"""Where a rank's numbers go besides metrics.jsonl: the exporter on every rank, trackers on one."""

from __future__ import annotations

import torch

from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset
from vidgen.engine.distributed import Ranks
from vidgen.engine.state import State
from vidgen.observe.exporter import wanted_port
from vidgen.observe.run_metrics import About, RunMetrics
from vidgen.observe.sink import Sink
from vidgen.observe.trackers import open_trackers
from vidgen.storage.run_folder import RunFolder, run_label


def open_sinks(
    config: RunConfig, state: State, ranks: Ranks, dataset: Dataset, folder: RunFolder
) -> list[Sink]:
    """Raises ConfigError, on every rank, when the package of a tracker is not installed."""
    trackers: list[Sink] = []
    ranks.from_lead(lambda: trackers.extend(open_trackers(config, folder)))
    sinks = trackers
    if wanted_port() is not None:
        sinks.append(RunMetrics(_about(config, state, ranks, dataset, folder)))
    return sinks


def _about(
    config: RunConfig, state: State, ranks: Ranks, dataset: Dataset, folder: RunFolder
) -> About:
    sources = dataset.summary.sources
    return About(
        run=run_label(folder.url),
        rank=ranks.rank,
        info={"family": config.model.family, "folder": folder.url, "workers": str(ranks.world)},
        steps=config.train.steps,
        step=lambda: state.step,
        clips_per_step=config.train.batch_size,
        my_clips=config.train.batch_size / ranks.world,
        clips=dataset.summary.clips,
        sources={
            "kept": sources.kept,
            "rejected": sources.rejected,
            "skipped": sources.skipped,
        },
        gpu_uuid=_gpu_uuid(ranks.device),
    )


def _gpu_uuid(device: torch.device) -> str | None:
    """As NVML writes it."""
    if device.type != "cuda":
        return None
    return f"GPU-{torch.cuda.get_device_properties(device).uuid}"
