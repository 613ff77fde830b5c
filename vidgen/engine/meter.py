"""Where the seconds of a run go, and whether its losses are still numbers."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import torch
from torch import Tensor

from vidgen.engine.distributed import Ranks
from vidgen.errors import TrainingError

Item = TypeVar("Item")


class Meter:
    """Seconds between two lines of metrics.jsonl, by what they were spent on."""

    def __init__(self) -> None:
        self._start()

    def _start(self) -> None:
        self._since = time.perf_counter()
        self._spent: dict[str, float] = defaultdict(float)
        self._waited = 0.0
        self._steps = 0

    def steps(self, batches: Iterable[Item]) -> Iterator[Item]:
        """Hand batches on, counting them and the wait for each."""
        stream = iter(batches)
        while True:
            asked = time.perf_counter()
            try:
                batch = next(stream)
            except StopIteration:
                return
            self._waited += time.perf_counter() - asked
            self._steps += 1
            yield batch

    @contextmanager
    def spend(self, name: str) -> Iterator[None]:
        """Count the time inside as `name`_s and not as training."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self._spent[name] += time.perf_counter() - began

    def read(self, clips_per_step: int) -> dict[str, float]:
        """Means per step and sums per activity since the last reading."""
        spent = {f"{name}_s": seconds for name, seconds in self._spent.items()}
        seconds = time.perf_counter() - self._since - sum(spent.values())
        steps = max(1, self._steps)
        line = {
            "step_s": seconds / steps,
            "data_wait_s": self._waited / steps,
            "clips_per_s": clips_per_step * steps / seconds,
            **spent,
        }
        self._start()
        return line


class Watch:
    """Finds the first step whose loss or gradient is not finite, without a look at every step.

    `see` only enqueues two small kernels; `check` reads the result where the loop waits anyway.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks
        self._first = torch.full((), math.inf, device=ranks.device)

    def see(self, value: Tensor, step: int) -> None:
        """A value of step number `step` (from 1)."""
        bad = torch.where(value.detach().isfinite(), math.inf, float(step))
        torch.minimum(self._first, bad, out=self._first)

    def check(self) -> None:
        """Raises TrainingError on every rank if any rank saw a value that is not finite."""
        first = min(self._ranks.gather(self._first.item()))
        if math.isfinite(first):
            raise TrainingError(
                f"the loss is no longer a finite number at step {int(first)}",
                fix="The last checkpoint is from before. Lower optimizer.lr or optimizer.clip_norm "
                "or lengthen schedule.warmup_steps.",
            )
