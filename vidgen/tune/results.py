"""What a sweep leaves: best.yaml and results.parquet."""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vidgen.config.load import dump
from vidgen.config.load_sweep import Sweep
from vidgen.config.run import RunConfig
from vidgen.tune.book import Book
from vidgen.tune.folder import BEST, RESULTS, SweepFolder, Trial


def chosen(sweep: Sweep, book: Book) -> Trial:
    """The best trial: by the score that `final.by` names where it was measured, else by metric."""
    by = sweep.config.final.by
    measured = [trial for trial in book.trials() if by in trial.final]
    if measured:
        return min(measured, key=lambda t: t.final[by] * (1 if by in t.lower else -1))
    best = book.best()
    assert best is not None
    return best


def best_config(sweep: Sweep, trial: Trial) -> RunConfig:
    """A trial as a run of its own: its values, and everything else as in the recipe."""
    config, base = sweep.run_config(trial.name, trial.values), sweep.base
    return config.model_copy(
        update={
            "name": f"{sweep.config.name}-best",
            "description": f"Best of sweep {sweep.config.name}: trial {trial.name}.",
            "run": None,
            "scale": base.scale,
            "storage": base.storage,
            "evaluate": base.evaluate,
            "early_stop": base.early_stop,
            "train": config.train.model_copy(
                update={
                    key: getattr(base.train, key)
                    for key in ("checkpoint_every", "keep_checkpoints")
                }
            ),
        }
    )


def write_best(sweep: Sweep, folder: SweepFolder, book: Book) -> Trial:
    """best.yaml; returns the trial it is of."""
    best = chosen(sweep, book)
    folder.store.write(BEST, dump(best_config(sweep, best)).encode())
    return best


def write_results(sweep: Sweep, folder: SweepFolder, book: Book) -> None:
    """results.parquet: a row a trial; a column per key of the space and per last score."""
    trials = book.trials()
    finals = sorted({name for trial in trials for name in trial.final})
    columns: dict[str, Any] = {
        "trial": [trial.name for trial in trials],
        "state": [trial.state for trial in trials],
        "reason": [trial.reason for trial in trials],
        "step": [trial.step for trial in trials],
        sweep.config.metric: pa.array([trial.score for trial in trials], pa.float64()),
        "gpu_seconds": [trial.gpu_s for trial in trials],
        "exploits": [trial.exploits for trial in trials],
        **{key: _column([trial.values.get(key) for trial in trials]) for key in sweep.config.space},
        **{
            f"final_{name}": pa.array([trial.final.get(name) for trial in trials], pa.float64())
            for name in finals
        },
    }
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table(columns), sink)
    folder.store.write(RESULTS, sink.getvalue().to_pybytes())


def _column(values: list[Any]) -> pa.Array:
    """Numbers as numbers, anything else as text."""
    given = [value for value in values if value is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in given):
        whole = all(isinstance(value, int) for value in given)
        return pa.array(values, pa.int64() if whole else pa.float64())
    return pa.array(
        [v if v is None or isinstance(v, str) else json.dumps(v) for v in values], pa.string()
    )
