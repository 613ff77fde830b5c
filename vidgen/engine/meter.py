"""Where the seconds of a run go, and whether its losses are still numbers."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from vidgen.engine.distributed import Ranks
from vidgen.errors import Diverged
from vidgen.types import Batch

Item = TypeVar("Item")


class Meter:
    """Seconds between two lines of metrics.jsonl, by what they were spent on.

    Args:
        device: whose work `span` times.
        flops_per_s: what the device can do, for the MFU; 0: not known.

    Attributes:
        laps: what `read` gave as means, one by one: seconds of each step, span and activity.
    """

    def __init__(self, device: torch.device, flops_per_s: float = 0.0) -> None:
        self._device, self._flops_per_s = device, flops_per_s
        self.laps: dict[str, list[float]] = {}
        self._resting = 0.0  # spent on other activities since the step began
        self._start()

    def _start(self) -> None:
        self._since = time.perf_counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._laps: dict[str, list[float]] = defaultdict(list)
        self._events: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []
        self._flops = 0.0
        self._steps = self._clips = self._frames = 0

    def steps(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Hand batches on, counting them and the wait for each."""
        stream, ended = iter(batches), None
        while True:
            asked = time.perf_counter()
            if ended is not None:
                self._laps["step"].append(asked - ended - self._resting)
            ended, self._resting = asked, 0.0
            try:
                batch = next(stream)
            except StopIteration:
                return
            self._laps["data_wait"].append(time.perf_counter() - asked)
            self._steps += 1
            yield batch

    def count(self, batch: Batch, *, clips: int, flops: float) -> None:
        """What a step does.

        Args:
            batch: of this rank.
            clips: of all ranks.
            flops: of this rank.
        """
        self._clips += clips
        self._frames += clips * batch.video.shape[2]
        self._flops += flops

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Count the device's time inside as `name`_s, a part of the step; does not wait for it."""
        if self._device.type == "cuda":
            begin = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            begin.record()
            yield
            end.record()
            self._events.append((name, begin, end))
            return
        began = time.perf_counter()
        yield
        self._laps[name].append(time.perf_counter() - began)

    @contextmanager
    def spend(self, name: str) -> Iterator[None]:
        """Count the time inside as `name`_s and not as training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            spent = time.perf_counter() - began
            self._spent[name] += spent
            self._laps[name].append(spent)
            self._resting += spent

    def read(self) -> dict[str, float]:
        """Means per step and sums per activity since the last reading; waits for the device."""
        for name, begin, end in self._events:
            end.synchronize()
            self._laps[name].append(begin.elapsed_time(end) / 1e3)
        spent = {f"{name}_s": seconds for name, seconds in self._spent.items()}
        seconds = time.perf_counter() - self._since - sum(spent.values())
        steps = max(1, self._steps)
        line = {
            "step_s": seconds / steps,
            **{
                f"{name}_s": sum(laps) / steps
                for name, laps in self._laps.items()
                if name != "step" and name not in self._spent
            },
            "clips_per_s": self._clips / seconds,
            "frames_per_s": self._frames / seconds,
            **spent,
        }
        if self._flops:
            line["flops_per_s"] = self._flops / seconds
            if self._flops_per_s:
                line["mfu"] = line["flops_per_s"] / self._flops_per_s
        self.laps = dict(self._laps)
        self._start()
        return line


def lag(ranks: Ranks, laps: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """`lag_s`, how much later per step the slowest rank is than the middle one, and `lag_rank`.

    What counts is the time before ranks wait for each other: for data, and the forward pass.
    """
    if ranks.world == 1:
        return {}
    steps = max(1, len(laps.get("data_wait", ())))
    alone = (sum(laps.get("data_wait", ())) + sum(laps.get("forward", ()))) / steps
    mine = torch.zeros(ranks.world, dtype=torch.float64)
    mine[ranks.rank] = alone
    each = ranks.total(mine)
    return {
        "lag_s": float(each.max() - each.median()),
        "lag_rank": float(each.argmax()),
    }


class Watch:
    """Finds the first step whose loss or gradient is not finite, without a look at every step.

    `see` only enqueues two small kernels; `check` reads the result where the loop waits anyway.

    Args:
        batch_of: names the clips of a step (from 1).
    """

    def __init__(self, ranks: Ranks, batch_of: Callable[[int], str] | None = None) -> None:
        self._ranks, self._batch_of = ranks, batch_of
        self._first = torch.full((), math.inf, device=ranks.device)

    def see(self, value: Tensor, step: int) -> None:
        """A value of step number `step` (from 1)."""
        bad = torch.where(value.detach().isfinite(), math.inf, float(step))
        torch.minimum(self._first, bad, out=self._first)

    def check(self) -> None:
        """Raises Diverged on every rank if any rank saw a value that is not finite."""
        first = min(self._ranks.gather(self._first.item()))
        if math.isfinite(first):
            batch = f", on {self._batch_of(int(first))}" if self._batch_of is not None else ""
            raise Diverged(
                f"the loss is no longer a finite number at step {int(first)}{batch}",
                fix="The last checkpoint is from before. Lower optimizer.lr or optimizer.clip_norm "
                "or lengthen schedule.warmup_steps.",
            )
