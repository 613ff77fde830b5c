"""What a step costs on a Ray Train worker over the same step under torchrun.

    python benchmarks/ray_overhead.py [--rounds 4] [--steps 60] [--workers 1] [--json]

Prints the ratio of seconds per step (limit 1.03). Runs of the same config take turns, each a fresh
process; the seconds per step are those of metrics.jsonl, without the start and the first lines, and
the median over all lines counts. Exit code 1 over the limit.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from vidgen.storage.run_folder import RunFolder

LIMIT = 1.03
LINE = 5  # steps to a line
WARM_UP = 3  # lines of a run that do not count

SCRIPT = "from vidgen.cli import main\nmain()\n"


def lines(folder: Path, name: str, workers: int, steps: int, *, ray: bool) -> list[float]:
    """Seconds per step of a run, line by line."""
    run, script = folder / name, folder / "train.py"
    script.write_text(SCRIPT)
    settings = {
        "run": run,
        "data.synthetic.clips": 48,
        "train.steps": steps,
        "train.log_every": LINE,
        "train.validate_every": 0,
        "train.sample_every": 0,
        "train.samples": 1,
        "train.checkpoint_every": 0,
        "scale.workers": workers if ray else 0,
    }
    command = [sys.executable, str(script)]
    if not ray:
        distributed = ["-m", "torch.distributed.run", f"--nproc-per-node={workers}"]
        command = [sys.executable, *distributed, str(script)]
    command += ["train", "shapes-flow"]
    for key, value in settings.items():
        command += ["--set", f"{key}={value}"]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    found = [each["step_s"] for each in RunFolder(str(run)).metrics() if "step_s" in each]
    return found[WARM_UP:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    times: dict[bool, list[float]] = {False: [], True: []}
    with tempfile.TemporaryDirectory() as folder:
        for n in range(options.rounds):
            for ray in (False, True) if n % 2 == 0 else (True, False):
                times[ray] += lines(
                    Path(folder), f"run-{n}-{ray}", options.workers, options.steps, ray=ray
                )
    torchrun, on_ray = (statistics.median(times[kind]) for kind in (False, True))
    found = {"torchrun_s": torchrun, "ray_s": on_ray, "ratio": on_ray / torchrun}
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"step: Ray Train {on_ray * 1e3:.2f} ms, torchrun {torchrun * 1e3:.2f} ms; "
            f"ratio {found['ratio']:.3f} (limit {LIMIT})"
        )
    return int(found["ratio"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
