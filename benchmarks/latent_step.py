"""What a training step costs on latents and on pixels, of the same clips at 64x64x16.

    python benchmarks/latent_step.py [--rounds 8] [--steps 3] [--json]

`shapes-latent-flow`, whose latents were written once by `vidgen data encode`, and `shapes-flow`
with `data.height=64 data.width=64` take turns within one process on one core; both read, decode and
augment their clips. Processor seconds of a step are compared, the median over the rounds counts.
Prints pixels over latents (goal: at least 3). Exit code 1 below it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator

import torch

from vidgen.config.load import load_run
from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.data.loader import batches
from vidgen.engine.codec import with_codec
from vidgen.engine.encode import encode
from vidgen.engine.state import State
from vidgen.engine.train import train

GOAL = 3.0
WARM_UP = 2  # rounds whose time does not count
FEW = ["data.synthetic.clips=48"]


def stepper(config: RunConfig) -> Iterator[None]:
    """Plain training; each `next` is one step."""
    dataset, state = ensure_dataset(config), State(config, torch.device("cpu"))
    objective, optimizer = state.objective.train(), state.optimizers["model"]
    for step, batch in enumerate(batches(dataset, config)):
        optimizer.zero_grad()
        objective.loss("model", batch, step).total.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield


def measure(folder: str, rounds: int, steps: int) -> dict[str, float]:
    """Seconds per step of both, and their ratio."""
    codec = f"{folder}/codec"
    # One step of it: how long encoding takes is not what its weights decide.
    train(load_run("shapes-vae", [*FEW, f"run={codec}", "train.steps=1", "train.sample_every=0"]))
    sets = [*FEW, f"run={folder}/latents", f"model.codec.run={codec}"]
    encode(load_run("shapes-latent-flow", sets), f"{folder}/cache")
    sides = ["data.height=64", "data.width=64", f"run={folder}/pixels"]
    configs = {
        "latents": with_codec(
            load_run("shapes-latent-flow", [*sets, f"model.codec.cache={folder}/cache"])
        ),
        "pixels": load_run("shapes-flow", [*FEW, *sides]),
    }
    steppers = {name: stepper(config) for name, config in configs.items()}
    times: dict[str, list[float]] = {name: [] for name in steppers}
    for _ in range(rounds + WARM_UP):
        for name, each in steppers.items():
            began = time.process_time()
            for _ in range(steps):
                next(each)
            times[name].append((time.process_time() - began) / steps)
    found = {f"{name}_s": statistics.median(each[WARM_UP:]) for name, each in times.items()}
    return found | {"ratio": found["pixels_s"] / found["latents_s"]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = measure(folder, options.rounds, options.steps)
    if options.json:
        print(json.dumps(found))
    else:
        print(
            f"a step of 16 clips at 64x64x16: on pixels {found['pixels_s']:.3f} s, on latents "
            f"{found['latents_s']:.3f} s; {found['ratio']:.1f} times less (goal {GOAL:g})"
        )
    return int(found["ratio"] < GOAL)


if __name__ == "__main__":
    sys.exit(main())
