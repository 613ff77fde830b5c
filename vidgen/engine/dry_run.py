"""`vidgen train --dry-run`: what a run will need, from a few of its steps; nothing is written."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.data.loader import batches
from vidgen.engine.continuing import with_dataset
from vidgen.engine.distributed import Ranks, join_ranks
from vidgen.engine.memory import is_out_of_memory
from vidgen.engine.meter import Meter, Watch
from vidgen.engine.peak_memory import peak_memory
from vidgen.engine.state import State
from vidgen.engine.step import Stepper
from vidgen.engine.strategy import choose_strategy, device_bytes, gigabytes, state_bytes
from vidgen.engine.validate import validate
from vidgen.errors import ConfigError, TrainingError
from vidgen.observe.progress import duration
from vidgen.types import Batch

_STEPS = 3  # timed, after one that warms up
_ROOM = 0.95  # of a device's memory that a batch may fill


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one rank measured, for a run of `ranks` ranks.

    Attributes:
        strategy: how ranks share the state, and why.
        weights: how many the objective has.
        state_bytes: of weights, gradients, moments and averages, whole.
        peak_bytes: most memory of a rank in a step: of its GPU, or of the process on a CPU.
        device_bytes: what a rank has.
        clips: of a batch, over all ranks; `clips_at_once` of them on a rank at a time.
        largest_batch: the most clips that fit, with the same accumulation; None where one clip more
            or less makes no difference that can be measured.
        step_s: seconds per step, `data_wait_s` of them waiting for data; sums of gradients over
            ranks are not in it.
        seconds: of the whole run: its steps and validations.
        ends: local time, if it starts now.
    """

    device: str
    precision: str
    ranks: int
    strategy: str
    weights: int
    state_bytes: int
    peak_bytes: int
    device_bytes: int
    clips: int
    clips_at_once: int
    largest_batch: int | None
    step_s: float
    data_wait_s: float
    steps: int
    seconds: float
    ends: str

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def __str__(self) -> str:
        most = "more than can be told from here" if self.largest_batch is None else (
            f"{self.largest_batch} clips"
        )  # fmt: skip
        rows = {
            "model": f"{self.weights / 1e6:.1f} M weights, {self.precision} on {self.device}",
            "strategy": self.strategy,
            "peak memory": f"{gigabytes(self.peak_bytes)} of {gigabytes(self.device_bytes)} "
            f"a rank, {self.clips_at_once} clips at a time",
            "batch": f"{self.clips} clips; the largest that fits: {most}",
            "step": f"{self.step_s:.3g} s, {self.data_wait_s:.3g} s of it waiting for data",
            "the run": f"{self.steps} steps in {duration(self.seconds)}; from now: {self.ends}",
        }
        width = max(map(len, rows))
        return "\n".join(f"{name:<{width}}  {text}" for name, text in rows.items())


def dry_run(config: RunConfig) -> Forecast:
    """Build everything, do a few steps at full size and see what they need.

    Raises:
        TrainingError: a step does not fit; says which knob to turn.
        VidgenError: whatever would stop the run before its first step.
    """
    config, dataset = with_dataset(config)
    world, train = max(1, config.scale.workers), config.train
    with join_ranks() as ranks:
        if ranks.world > 1:
            raise ConfigError("--dry-run measures one rank: start it without torchrun")
        planned = dataclasses.replace(ranks, world=world, local=world)
        here = config.model_copy(
            update={"train": train.model_copy(update={"batch_size": -(-train.batch_size // world)})}
        )
        state = State(here, ranks.device, ranks)
        whole = state_bytes(state.objective, config.optimizer, averaged=bool(train.ema_decay))
        strategy = choose_strategy(config, state.objective, planned)
        probe = _Probe(here, state, ranks)
        with batches(dataset, here, conditions=sorted(state.objective.model.conditions)) as stream:
            peak, step_s, data_wait_s = probe.time(stream)
            spared = 0 if strategy.kind == "ddp" else whole - whole * strategy.replicas // world
            room = int(_ROOM * device_bytes(planned)) + spared
            most = probe.largest(next(stream), room, peak)
        began = time.perf_counter()
        validate(state, dataset, here, ranks)
        passes = train.steps // train.validate_every if train.validate_every else 0
        seconds = train.steps * step_s + passes * (time.perf_counter() - began)
        return Forecast(
            device=str(ranks.device)
            if ranks.device.type == "cpu"
            else torch.cuda.get_device_name(),
            precision=state.precision.kind,
            ranks=world,
            strategy=strategy.why,
            weights=sum(w.numel() for w in state.objective.parameters()),
            state_bytes=whole,
            peak_bytes=peak - spared,
            device_bytes=device_bytes(planned),
            clips=train.batch_size,
            clips_at_once=-(-here.train.batch_size // train.accumulate),
            largest_batch=None if most is None else most * train.accumulate * world,
            step_s=step_s,
            data_wait_s=data_wait_s,
            steps=train.steps,
            seconds=seconds,
            ends=time.strftime("%Y-%m-%d %H:%M", time.localtime(time.time() + seconds)),
        )


class _Probe:
    """Steps of a rank that is alone, whose results nobody keeps."""

    def __init__(self, config: RunConfig, state: State, ranks: Ranks) -> None:
        self._config, self._state, self._ranks = config, state, ranks
        self._meter = Meter(ranks.device)
        self._stepper = Stepper(config, state, ranks, self._meter, Watch(ranks))

    def time(self, stream: Any) -> tuple[int, float, float]:
        """Peak bytes, seconds per step and seconds of waiting for data, at full size."""
        self._step(next(stream))
        self._meter.read()
        with peak_memory(self._ranks.device) as peak:
            for _, batch in zip(range(_STEPS), self._meter.steps(stream), strict=False):
                self._step(batch)
            if self._ranks.device.type == "cuda":
                torch.cuda.synchronize()
            line = self._meter.read()
            return peak(), line["step_s"], line["data_wait_s"]

    def largest(self, batch: Batch, room: int, peak: int) -> int | None:
        """The most clips at a time whose step stays within `room` bytes.

        Memory grows evenly with the clips, so two sizes tell; on a GPU the size found is tried.
        """
        accumulate = self._config.train.accumulate
        now = -(-len(batch) // accumulate)
        larger = 2 * now
        try:
            with peak_memory(self._ranks.device) as second:
                self._step(_of(batch, larger * accumulate))
                each = (second() - peak) / (larger - now)
        except TrainingError:
            return now
        if each <= 0:
            return None
        most = max(now, now + math.floor((room - peak) / each))
        while self._ranks.device.type == "cuda" and most > now:
            try:
                self._step(_of(batch, most * accumulate))
                torch.cuda.synchronize()
                break
            except (TrainingError, RuntimeError) as error:
                if isinstance(error, RuntimeError) and not is_out_of_memory(error):
                    raise
                torch.cuda.empty_cache()
                most = max(now, int(0.95 * most))
        return most

    def _step(self, batch: Batch) -> None:
        self._stepper.step(batch, len(batch), logging=False)


def _of(batch: Batch, clips: int) -> Batch:
    """A batch of that many clips: these, again and again."""

    def again(value: Tensor) -> Tensor:
        times = -(-clips // len(value))
        return torch.cat([value] * times)[:clips]

    return Batch(video=again(batch.video), cond=batch.cond.map(again), seed=again(batch.seed))
