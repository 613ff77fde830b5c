"""What vidgen's training loop costs over a bare PyTorch loop on the same model and data.

    python benchmarks/loop_overhead.py [--rounds 12] [--steps 10] [--json]
    python benchmarks/loop_overhead.py --exporter

Prints the ratio of seconds per step (limit 1.03), all accounting on: stop votes, the watch for
losses that are no numbers, averages, timing, metrics.jsonl. The bare loop clips, steps AdamW and
averages weights as well, since every training script does. Both take turns within one process on
one core, `--steps` each, and the median over the rounds counts. On a CPU processor seconds are
compared, which what else the machine does hardly disturbs. Exit code 1 over the limit.

With --exporter it is vidgen's loop with and without the exporter instead (limit 1.01), which is
opened and closed between rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import torch

from vidgen.config.load import load_run
from vidgen.config.run import RunConfig
from vidgen.data.dataset import Dataset
from vidgen.data.ensure import ensure_dataset
from vidgen.data.loader import batches
from vidgen.engine.distributed import Ranks, join_ranks
from vidgen.engine.loop import Job, run_loop
from vidgen.engine.sinks import open_sinks
from vidgen.engine.state import State
from vidgen.errors import Interrupted
from vidgen.models.base import build_objective
from vidgen.observe.recorder import Recorder
from vidgen.observe.sink import Sink
from vidgen.storage.run_folder import RunFolder

LIMIT = 1.03
EXPORTER_LIMIT = 1.01
WARM_UP = 2  # rounds whose time does not count
Clock = Callable[[], float]


def bare_steps(config: RunConfig, dataset: Dataset, device: torch.device) -> Iterator[None]:
    """A plain training loop; each `next` is one step."""
    torch.manual_seed(config.seed)
    objective = build_objective(config).to(device).train()
    weights: list[torch.Tensor] = list(objective.parameters())
    averages = [w.detach().clone() for w in weights]
    settings = config.optimizer
    optimizer = torch.optim.AdamW(
        weights, lr=settings.lr, betas=settings.betas, weight_decay=0.01, fused=True
    )
    bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    for step, batch in enumerate(batches(dataset, config)):
        batch = batch.to(device, non_blocking=True)
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16):
            loss = objective.loss("model", batch, step).total
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(weights, settings.clip_norm)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - config.train.ema_decay)
        yield


class TakeTurns(Recorder):
    """Whenever vidgen's loop has done its share and logs, the bare loop does its own."""

    def __init__(self, folder: RunFolder, bare: Callable[[], None], clock: Callable[[], float]):
        super().__init__(folder, step=0, show=lambda line: None)
        self.vidgen: list[float] = []
        self.bare: list[float] = []
        self._run_bare, self._clock, self._since = bare, clock, clock()

    def write(self, step: int, values: dict[str, float]) -> None:
        super().write(step, values)
        now = self._clock()
        self.vidgen.append(now - self._since)
        self._run_bare()
        self._since = self._clock()
        self.bare.append(self._since - now)


class OnAndOff(Recorder):
    """Opens the exporter whenever vidgen's loop logs, and closes it the next time."""

    def __init__(self, folder: RunFolder, make: Callable[[], list[Sink]], clock: Clock):
        super().__init__(folder, step=0, show=lambda line: None)
        self.times: dict[bool, list[float]] = {True: [], False: []}
        self._make, self._clock, self._since = make, clock, clock()

    @property
    def rounds(self) -> int:
        return min(map(len, self.times.values()))

    def write(self, step: int, values: dict[str, float]) -> None:
        super().write(step, values)
        on = bool(self._sinks)
        self.times[on].append(self._clock() - self._since)
        for sink in self._sinks:
            sink.close("done")
        self._sinks = () if on else self._make()
        time.sleep(0.5)  # its first series, and its server's start, belong to no round
        self._since = self._clock()


def measure_exporter(rounds: int, steps: int) -> dict[str, float]:
    """Seconds per step with and without the exporter, and their ratio."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        os.environ |= {
            "VIDGEN_METRICS_PORT": str(free.getsockname()[1]),
            "VIDGEN_METRICS_LINGER_S": "5",
        }
    with tempfile.TemporaryDirectory() as folder, join_ranks() as ranks:
        config = benchmark_config(folder, steps)
        dataset, place = ensure_dataset(config), RunFolder(folder)
        state = State(config, ranks.device)
        clock = time.process_time if ranks.device.type == "cpu" else _synchronized_clock
        recorder = OnAndOff(place, lambda: open_sinks(config, state, ranks, dataset, place), clock)
        with recorder:
            _vidgen(
                config, dataset, ranks, recorder, state, lambda: recorder.rounds >= rounds + WARM_UP
            )
    on, off = (recorder.times[key][WARM_UP:] for key in (True, False))
    # Rounds without it lie before and after each one with it: what drifts cancels.
    ratios = [2 * a / (b + c) for a, b, c in zip(on, off, off[1:], strict=False)]
    return {
        "exporter_s": statistics.median(on) / steps,
        "without_s": statistics.median(off) / steps,
        "ratio": statistics.median(ratios),
    }


def benchmark_config(folder: str, steps: int) -> RunConfig:
    return load_run(
        "shapes-flow",
        [
            "data.synthetic.clips=48",
            f"run={folder}",
            f"train.log_every={steps}",
            "train.validate_every=0",
            "train.sample_every=0",
            "train.checkpoint_every=0",
        ],
    )


def measure(rounds: int, steps: int) -> dict[str, float]:
    """Seconds per step of both loops and their ratio."""
    with tempfile.TemporaryDirectory() as folder, join_ranks() as ranks:
        config = benchmark_config(folder, steps)
        dataset = ensure_dataset(config)
        stepper = bare_steps(config, dataset, ranks.device)
        clock = time.process_time if ranks.device.type == "cpu" else _synchronized_clock

        def bare() -> None:
            for _ in range(steps):
                next(stepper)

        recorder = TakeTurns(RunFolder(folder), bare, clock)
        with recorder:
            _vidgen(
                config,
                dataset,
                ranks,
                recorder,
                State(config, ranks.device),
                lambda: len(recorder.bare) >= rounds + WARM_UP,
            )
        times = [
            statistics.median(each[WARM_UP:]) / steps for each in (recorder.vidgen, recorder.bare)
        ]
        return {"vidgen_s": times[0], "bare_s": times[1], "ratio": times[0] / times[1]}


def _vidgen(
    config: RunConfig,
    dataset: Dataset,
    ranks: Ranks,
    recorder: Recorder,
    state: State,
    enough: Callable[[], bool],
) -> None:
    job = Job(
        config=config,
        dataset=dataset,
        state=state,
        folder=RunFolder(str(config.run)),
        ranks=ranks,
        recorder=recorder,
        stop_wanted=enough,
        report=lambda metrics: None,
    )
    try:
        run_loop(job)
    except Interrupted:
        return


def _synchronized_clock() -> float:
    torch.cuda.synchronize()
    return time.perf_counter()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--exporter", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.exporter:
        found, limit = measure_exporter(options.rounds, options.steps), EXPORTER_LIMIT
    else:
        found, limit = measure(options.rounds, options.steps), LIMIT
    if options.json:
        print(json.dumps(found))
    elif options.exporter:
        print(
            f"step: with the exporter {found['exporter_s'] * 1e3:.2f} ms, without "
            f"{found['without_s'] * 1e3:.2f} ms; ratio {found['ratio']:.4f} (limit {limit})"
        )
    else:
        print(
            f"step: vidgen {found['vidgen_s'] * 1e3:.2f} ms, bare PyTorch "
            f"{found['bare_s'] * 1e3:.2f} ms; ratio {found['ratio']:.3f} (limit {LIMIT})"
        )
    return int(found["ratio"] > limit)


if __name__ == "__main__":
    sys.exit(main())
