"""The sweep folder: what a sweep keeps where, local or in an object store.

sweep.yaml                 the sweep with its recipe inside
sweep.json                 how it stands: trials by state, best, GPU-seconds spent and saved
trials/t003/               an ordinary run folder: config.yaml, metrics.jsonl, checkpoints/, ...
trials/t003/trial.json     what the sweep knows of it: values, state, reason, GPU-seconds
trials/t003/exploits.json  the times it went on from another trial's weights
sweep.html                 all of it on one page
best.yaml                  the best trial's config, for `vidgen train`
results.parquet            a row a trial
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from vidgen.config.load_sweep import Sweep, dump_sweep, parse_sweep
from vidgen.config.run import StorageConfig
from vidgen.config.space import Values
from vidgen.errors import ConfigError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder

SWEEP, SUMMARY, PAGE = "sweep.yaml", "sweep.json", "sweep.html"
BEST, RESULTS = "best.yaml", "results.parquet"
_TRIAL, _EXPLOITS = "trial.json", "exploits.json"

# What may differ when a sweep goes on: how much it may use, and what it runs on.
_FREE = {"description", "run", "budget", "trial", "concurrent", "final", "storage"}


@dataclass(kw_only=True)
class Trial:
    """What a sweep knows of a trial.

    Attributes:
        name: t000, t001, ...; of its folder.
        values: what it picked; after an exploit, what it has now.
        state: waiting, running, stopped (given up), done, failed.
        step: of the last validation; score: the metric there.
        gpu_s: GPU-seconds it took, of processors where there are no GPUs.
        step_gpu_s: GPU-seconds of a step, without what surrounds the steps.
        exploits: how often it went on from another trial's weights.
        reason: why it was stopped or failed.
        final: scores of the last measurement, by name.
        lower: those of them that are better when they are smaller.
    """

    name: str
    values: Values
    state: str = "waiting"
    step: int = 0
    score: float | None = None
    gpu_s: float = 0.0
    step_gpu_s: float = 0.0
    exploits: int = 0
    reason: str = ""
    final: dict[str, float] = field(default_factory=dict)
    lower: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Nothing is left to do: a sweep that goes on leaves it alone."""
        return self.state in ("stopped", "done", "failed")


class SweepFolder:
    """A sweep folder behind a Store."""

    def __init__(self, url: str, storage: StorageConfig | None = None) -> None:
        self._storage = storage
        self.store: Store = open_store(url, storage)
        self.url = self.store.url

    def open(self, sweep: Sweep, *, resume: bool) -> dict[str, Trial]:
        """Begin, or find the trials of the same sweep that was begun here, by name.

        Raises ConfigError: there is one already and `resume` is not asked for, or it is another.
        """
        try:
            text = self.store.read(SWEEP).decode("utf-8")
        except NotFoundInStore:
            self.store.write(SWEEP, dump_sweep(sweep).encode())
            return {}
        where = f"{self.url}/{SWEEP}"
        if not resume:
            raise ConfigError(
                f"{self.url} holds a sweep already",
                fix="Go on with it: --resume. Or choose another folder: --set run=...",
            )
        before, now = _fixed(parse_sweep(text, where)), _fixed(sweep)
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ConfigError(
                    f"{self.url} holds a sweep with another '{key}'",
                    fix="Go on with its own file, or choose another folder: --set run=...",
                )
        self.store.write(SWEEP, dump_sweep(sweep).encode())
        return {trial.name: trial for trial in self.trials()}

    def trials(self) -> list[Trial]:
        """All that have been begun, by name."""
        names = [
            stat.key.split("/")[1]
            for stat in self.store.list("trials/")
            if stat.key.count("/") == 2 and stat.key.endswith(f"/{_TRIAL}")
        ]
        return [Trial(**json.loads(self.store.read(f"trials/{n}/{_TRIAL}"))) for n in names]

    def write_trial(self, trial: Trial) -> None:
        self.write_json(f"trials/{trial.name}/{_TRIAL}", dataclasses.asdict(trial))

    def run(self, trial: str) -> RunFolder:
        """A trial's run folder."""
        return RunFolder(f"{self.url}/trials/{trial}", self._storage)

    def write_json(self, key: str, value: Any) -> None:
        self.store.write(key, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_exploits(run: RunFolder) -> list[dict[str, Any]]:
    """Oldest first: {step, from, before, after}, the last two being values."""
    try:
        found: list[dict[str, Any]] = run.read_json(_EXPLOITS)
    except NotFoundInStore:
        return []
    return found


def write_exploits(run: RunFolder, exploits: list[dict[str, Any]]) -> None:
    run.write_json(_EXPLOITS, exploits)


def _fixed(sweep: Sweep) -> dict[str, Any]:
    found = sweep.config.model_dump(mode="json", by_alias=True)
    found |= {"recipe": sweep.base.model_dump(mode="json"), "set": {}}
    return {key: value for key, value in found.items() if key not in _FREE}
