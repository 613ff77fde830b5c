"""What a run looks like at this moment, read from its metrics.jsonl or from an exporter's port."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vidgen.errors import ConfigError, NotFoundInStore, StorageError
from vidgen.observe import metric_table as table
from vidgen.storage.base import Store
from vidgen.storage.run_folder import METRICS, RunFolder, run_label

_SILENT_AFTER_S = 120.0  # or ten steps
_SCRAPE_S = 5.0


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One line of `vidgen top`. What is not known is None.

    Attributes:
        state: running, silent (no line for long), done, or how it ended.
        wait_share: of a step, waiting for data.
        idle_s: since the last step was heard of.
        left_s: at the speed of now.
    """

    name: str
    state: str
    step: int
    steps: int | None = None
    loss: float | None = None
    val_loss: float | None = None
    clips_per_s: float | None = None
    step_s: float | None = None
    wait_share: float | None = None
    mfu: float | None = None
    gpu: float | None = None
    starts: int | None = None
    idle_s: float | None = None

    @property
    def left_s(self) -> float | None:
        if self.steps is None or not self.step_s or self.state != "running":
            return None
        return (self.steps - self.step) * self.step_s


def view_folder(folder: RunFolder) -> RunView:
    """From a run folder, local or remote. Raises NotFoundInStore when there is no run."""
    config, lines = folder.config(), list(folder.metrics())
    latest: dict[str, Any] = {}
    for line in lines:
        latest |= line
    step, steps = int(latest.get("step", 0)), config.train.steps
    idle = time.time() - latest["time"] if lines else None
    step_s = latest.get("step_s")
    silent = idle is None or idle > max(
        _SILENT_AFTER_S, 10 * (step_s or 0.0) * config.train.log_every
    )
    state = "done" if step >= steps else "silent" if silent else "running"
    if not lines:
        state = "waiting"
    wait = latest.get("data_wait_s")
    return RunView(
        name=run_label(folder.url),
        state=state,
        step=step,
        steps=steps,
        loss=latest.get("loss"),
        val_loss=latest.get("val_loss"),
        clips_per_s=latest.get("clips_per_s"),
        step_s=step_s,
        wait_share=wait / step_s if wait is not None and step_s else None,
        mfu=latest.get("mfu"),
        starts=int(latest["starts"]) if "starts" in latest else None,
        idle_s=idle,
    )


def view_all(store: Store, make: Any) -> list[RunView]:
    """Every run folder below a store, the newest line first; `make(url)` opens one."""
    keys = (stat.key for stat in store.list())
    names = {key.rpartition("/")[0] for key in keys if key.rpartition("/")[2] == METRICS}
    views = []
    for name in sorted(names):
        try:
            views.append(view_folder(make(f"{store.url}/{name}" if name else store.url)))
        except NotFoundInStore:  # a metrics.jsonl that is no run's
            continue
    return sorted(views, key=lambda view: view.idle_s if view.idle_s is not None else 0.0)


def view_exporter(url: str) -> list[RunView]:
    """All runs that an exporter's port tells of. Raises StorageError when it does not answer."""
    from prometheus_client.parser import text_string_to_metric_families

    address = f"{url.rstrip('/').removesuffix('/metrics')}/metrics"
    try:
        with urllib.request.urlopen(address, timeout=_SCRAPE_S) as answer:
            text = answer.read().decode()
    except (OSError, ValueError) as error:
        raise StorageError(
            f"no exporter answers at {address}: {getattr(error, 'reason', error)}",
            fix="Runs with VIDGEN_METRICS_PORT set have one; on a cluster, forward the pod's port.",
        ) from None
    samples = [
        (sample.name, sample.labels, sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    return _views(samples)


def _views(samples: Iterable[tuple[str, Mapping[str, str], float]]) -> list[RunView]:
    runs: dict[str, dict[str, float]] = defaultdict(dict)
    outcome: dict[str, str] = {}
    gpu_of: dict[str, list[str]] = defaultdict(list)
    used: dict[str, float] = {}
    samples = list(samples)
    for name, labels, value in samples:
        run = labels.get("run", "")
        if name == table.RUN_OUTCOME.name:
            outcome[run] = labels["outcome"]
        elif name == table.RANK_GPU.name:
            gpu_of[run].append(labels["gpu_uuid"])
        elif name == table.GPU_UTILIZATION.name:
            used[labels["gpu_uuid"]] = value
        elif run and (key := _key(name, labels)):
            # Of ranks, the newest step and the sums over all.
            known = runs[run].get(key)
            newest = key == "last" and known is not None
            runs[run][key] = max(known, value) if newest and known else (known or 0.0) + value
    views = []
    for run, found in runs.items():
        if "step" not in found:  # scores alone, or ranks whose first one is on another node
            continue
        count, seconds = found.get("count", 0.0), found.get("seconds", 0.0)
        gpus = [used[uuid] for uuid in gpu_of[run] if uuid in used]
        views.append(
            RunView(
                name=run,
                state=outcome.get(run, "running"),
                step=int(found["step"]),
                steps=int(found["steps"]) if "steps" in found else None,
                loss=found.get("loss"),
                val_loss=found.get("val_loss"),
                clips_per_s=found.get("clips_per_s"),
                step_s=seconds / count if count else None,
                wait_share=found.get("waited", 0.0) / seconds if seconds else None,
                mfu=found.get("mfu"),
                gpu=sum(gpus) / len(gpus) if gpus else None,
                starts=1 + int(found.get("restarts", 0)),
                idle_s=time.time() - found["last"] if "last" in found else None,
            )
        )
    return views


_KEYS = {
    "vidgen_step": "step",
    "vidgen_steps_wanted": "steps",
    "vidgen_clips_per_second": "clips_per_s",
    "vidgen_restarts_total": "restarts",
    "vidgen_step_seconds_sum": "seconds",
    "vidgen_step_seconds_count": "count",
    "vidgen_last_step_timestamp_seconds": "last",
}


def _key(name: str, labels: Mapping[str, str]) -> str | None:
    """What a sample is to a RunView."""
    if name == table.LOSS.name:
        model = labels["turn"] == "model" and labels["part"] == "total"
        return "loss" if model else None
    if name == table.VALIDATION_LOSS.name:
        return "val_loss" if labels["part"] == "total" else None
    if name == table.MFU.name:
        return "mfu" if labels["rank"] == "0" else None
    if name == "vidgen_phase_seconds_sum":
        return "waited" if labels["phase"] == "data_wait" else None
    return _KEYS.get(name)


def open_views(where: str | None, make: Any, store: Any) -> list[RunView]:
    """The runs at a place: an exporter's http:// url, a run folder, or a folder of runs.

    Args:
        where: None stands for runs/ of this folder.
        make, store: open a RunFolder, and a Store, by url.

    Raises ConfigError when nothing is there.
    """
    if where is not None and where.startswith(("http://", "https://")):
        return view_exporter(where)
    place = where or "runs"
    folder = make(place)
    if folder.exists():
        return [view_folder(folder)]
    views = view_all(store(place), make)
    if not views:
        raise ConfigError(
            f"no run in {place}",
            expected="a run folder, a folder of runs, or the http:// url of an exporter",
        )
    return views
