"""The run folder: one place that knows where a run keeps what, local or in an object store.

config.yaml                      resolved config with versions
metrics.jsonl                    one JSON object a line; `step` and `time` (unix seconds) always
checkpoints/step_00000500/       sharded state; COMMITTED is written last
samples/step_00000500.mp4        grid of sample videos, .json beside it tells what was asked
samples/real.mp4                 the held-out clips those were asked for, in the same places
eval.json                        scores, each with its protocol
eval/step_00000500/              clips to look at: 000_real.mp4, 000_generated.mp4, ...
bench.json                       speed, with the machine it was measured on
report.html                      everything on one page
model.safetensors                exported averaged weights
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from vidgen.config.load import parse_run
from vidgen.config.run import RunConfig, StorageConfig
from vidgen.errors import CheckpointError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.open import open_store

CONFIG = "config.yaml"
METRICS = "metrics.jsonl"
REAL_SAMPLES = "samples/real.mp4"
EVAL = "eval.json"
BENCH = "bench.json"
REPORT = "report.html"
EXPORT = "model.safetensors"
COMMITTED = "COMMITTED"

_STEP = re.compile(r"step_(\d{8})")


def step_name(step: int) -> str:
    """'step_00000500'."""
    return f"step_{step:08d}"


def run_label(url: str) -> str:
    """A run's name in metrics: its folder's last part; of a sweep's trial, 'SWEEP/TRIAL'."""
    parts = [part for part in url.split("/") if part]
    if len(parts) > 2 and parts[-2] == "trials":
        return f"{parts[-3]}/{parts[-1]}"
    return parts[-1]


class RunFolder:
    """A run folder behind a Store."""

    def __init__(self, url: str, storage: StorageConfig | None = None) -> None:
        self.store: Store = open_store(url, storage)
        self.url = self.store.url

    def exists(self) -> bool:
        """Whether a run has been started here."""
        try:
            self.store.stat(CONFIG)
        except NotFoundInStore:
            return False
        return True

    def config(self) -> RunConfig:
        """The run's resolved config. Raises NotFoundInStore with what to do."""
        try:
            text = self.store.read(CONFIG).decode("utf-8")
        except NotFoundInStore:
            raise NotFoundInStore(
                f"{self.url} is not a run folder: it has no {CONFIG}",
                fix="Give the folder that `vidgen train` printed.",
            ) from None
        return parse_run(text, f"{self.url}/{CONFIG}")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """Lines of metrics.jsonl in order; a last line cut short by a crash is left out."""
        try:
            lines = self.store.read(METRICS).decode("utf-8").split("\n")
        except NotFoundInStore:
            return
        for line in lines[:-1]:
            yield json.loads(line)

    def checkpoint_steps(self) -> list[int]:
        """Steps of committed checkpoints, oldest first. A half-written checkpoint is not listed."""
        return sorted(step for step, keys in self.checkpoint_keys().items() if is_whole(keys))

    def half_written_steps(self) -> list[int]:
        """Steps of checkpoints without their commit marker, oldest first."""
        return sorted(step for step, keys in self.checkpoint_keys().items() if not is_whole(keys))

    def checkpoint_keys(self) -> dict[int, list[str]]:
        """What there is of each step's checkpoint, whole or not; the commit marker first."""
        found: dict[int, list[str]] = {}
        for stat in self.store.list("checkpoints/"):
            folder, _, _ = stat.key.removeprefix("checkpoints/").partition("/")
            if step := _STEP.fullmatch(folder):
                found.setdefault(int(step.group(1)), []).append(stat.key)
        return {step: sorted(keys, key=lambda k: not _marks(k)) for step, keys in found.items()}

    def checkpoint(self, step: int | None = None) -> Store:
        """The store of one committed checkpoint, the newest by default."""
        steps = self.checkpoint_steps()
        if not steps:
            raise CheckpointError(
                f"{self.url} has no committed checkpoint (no checkpoints/*/{COMMITTED})",
                fix="A half-written checkpoint is never read; train the run for longer.",
            )
        if step is not None and step not in steps:
            raise CheckpointError(
                f"{self.url} has no committed checkpoint of step {step}",
                expected=f"one of {', '.join(map(str, steps))}",
            )
        return self.store.sub(f"checkpoints/{step_name(steps[-1] if step is None else step)}")

    def write_json(self, key: str, value: Any) -> None:
        """Write a value as indented JSON, all or nothing."""
        self.store.write(key, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode("utf-8"))

    def read_json(self, key: str) -> Any:
        """What a JSON file of the folder holds."""
        return json.loads(self.store.read(key))


def _marks(key: str) -> bool:
    return key.endswith(f"/{COMMITTED}")


def is_whole(keys: list[str]) -> bool:
    """Whether a checkpoint of these keys is committed."""
    return any(map(_marks, keys))
