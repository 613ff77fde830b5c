"""What asynchronous successive halving costs and finds, against training every config to its end.

    python benchmarks/sweep_savings.py [--steps 320] [--seed 0] [--folder DIR] [--json]

Two sweeps over the same 18 configs of a small shapes-flow, both really run: the full grid, and the
same grid under ASHA. Compares the steps that were done (as each trial's metrics.jsonl tells, also
those of stopped trials) and the validation loss of the best config found. Exit code 1 unless ASHA
finds one within 2 % of the grid's best for at most 35 % of the grid's steps.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from vidgen.config.load_sweep import Sweep, parse_sweep
from vidgen.tune.folder import SweepFolder
from vidgen.tune.tune import tune

MOST_STEPS, MOST_LOSS = 0.35, 1.02

SWEEP = """
name: savings
recipe: shapes-demo
set:
  data.synthetic.clips: 320
  model: {width: 64, heads: 4, depth: 2, text_width: 32, text_tokens: 4}
  train: {batch_size: 4, ema_decay: 0.95, validate_clips: 16, samples: 1, sample_every: 0}
  schedule.warmup_steps: 10
space:
  optimizer.lr: {grid: [1e-4, 3e-4, 1e-3, 2e-3, 4e-3, 1e-2]}
  optimizer.betas: {grid: [[0.9, 0.99], [0.9, 0.9], [0.5, 0.99]]}
search: {kind: grid}
trial: {workers: 0}
final: {top: 0}
"""


def sweep(folder: Path, name: str, steps: int, *overrides: str) -> Sweep:
    given = [
        f"name={name}",
        f"run={folder / name}",
        f"set.train.steps={steps}",
        f"set.train.validate_every={steps // 16}",
        f"set.train.checkpoint_every={steps}",
    ]
    return parse_sweep(SWEEP, "sweep_savings.py", [*given, *overrides])


def run(config: Sweep) -> dict[str, float]:
    """Run a sweep; steps that were done, the best validation loss, and seconds."""
    began = time.monotonic()
    book = tune(config)
    folder = SweepFolder(config.url)
    best = book.best()
    assert best is not None
    assert best.score is not None
    done = [
        max((line["step"] for line in folder.run(trial.name).metrics()), default=0)
        for trial in book.trials()
    ]
    return {
        "trials": len(done),
        "steps": sum(done),
        "loss": best.score,
        "seconds": time.monotonic() - began,
        **{state: float(count) for state, count in book.counts().items()},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=320, help="of a trial; a multiple of 16")
    parser.add_argument("--seed", type=int, default=0, help="of the order that ASHA sees trials in")
    parser.add_argument("--folder", type=Path, help="keeps both sweeps")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two trials share two cores
    steps = options.steps
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.folder or Path(scratch)
        halving = f"scheduler={{kind: asha, grace_steps: {steps // 16}, reduction: 4}}"
        asha = run(sweep(folder, "asha", steps, halving, f"search.seed={options.seed}"))
        grid = run(sweep(folder, "grid", steps))
    share, loss = asha["steps"] / grid["steps"], asha["loss"] / grid["loss"]
    if options.json:
        print(json.dumps({"grid": grid, "asha": asha, "steps_ratio": share, "loss_ratio": loss}))
    else:
        for name, found in (("grid", grid), ("asha", asha)):
            print(
                f"{name}: {found['trials']:.0f} trials, {found['steps']:.0f} steps, best val_loss "
                f"{found['loss']:.4f}, {found['seconds']:.0f} s"
            )
        print(
            f"ratio: {share:.3f} of the steps (limit {MOST_STEPS}), {loss:.3f} of the best loss "
            f"(limit {MOST_LOSS})"
        )
    return int(share > MOST_STEPS or loss > MOST_LOSS)


if __name__ == "__main__":
    sys.exit(main())
