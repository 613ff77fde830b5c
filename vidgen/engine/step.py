"""One optimizer step: every turn's loss, gradients and update, in parts, on all ranks."""

from __future__ import annotations

import torch
from torch import Tensor

from vidgen.config.run import RunConfig
from vidgen.engine.distributed import Ranks
from vidgen.engine.memory import naming_the_knob
from vidgen.engine.meter import Meter, Watch
from vidgen.engine.optim import set_lr
from vidgen.engine.schedule import lr_ratio
from vidgen.engine.state import State
from vidgen.engine.turns import Turn
from vidgen.types import Batch


class Stepper:
    """Does the steps of a run.

    Args:
        meter, watch: told of every step.
    """

    def __init__(
        self, config: RunConfig, state: State, ranks: Ranks, meter: Meter, watch: Watch
    ) -> None:
        self._config, self._state, self._ranks = config, state, ranks
        self._meter, self._watch = meter, watch
        self._turns = [
            Turn(state.objective, n, o, ranks, state.sharded) for n, o in state.optimizers.items()
        ]

    def lr(self, step: int) -> float:
        config = self._config
        return config.optimizer.lr * lr_ratio(config.schedule, step, config.train.steps)

    def step(self, batch: Batch, clips: int, *, logging: bool) -> dict[str, Tensor]:
        """Do step `state.step` and count it.

        Args:
            batch: this rank's share of the step's clips, on the CPU.
            clips: how many all ranks have together.
            logging: whether to return what metrics.jsonl wants of the step: scalars on the device,
                whose means over ranks are those of the step.

        Raises TrainingError when memory runs out.
        """
        state = self._state
        _reseed(self._config.seed, state.step, self._ranks.rank)
        numbers: dict[str, Tensor] = {}
        with naming_the_knob(self._config, self._ranks, state.strategy):
            batch = batch.to(self._ranks.device, non_blocking=True)
            for turn in self._turns:
                self._turn(turn, batch, clips, numbers if logging else None)
        state.ema.update(state.step)
        state.step += 1
        return numbers

    def _turn(
        self, turn: Turn, batch: Batch, clips: int, numbers: dict[str, Tensor] | None
    ) -> None:
        state, meter = self._state, self._meter
        step, precision = state.step, state.precision
        set_lr(turn.optimizer, self.lr(step))
        turn.optimizer.zero_grad()
        with turn.training_only():
            with meter.span("forward_backward"):
                for part in turn.parts(batch, self._config.train.accumulate):
                    # Gradients and numbers are averaged over ranks, which may differ by a clip.
                    share = len(part) * self._ranks.world / clips
                    with precision.autocast(), meter.span("forward"):
                        losses = turn.losses(part, step)
                    precision.backward(losses.total * share)
                    self._watch.see(losses.total, step + 1)
                    if numbers is not None:
                        _add(numbers, f"{turn.prefix}loss", losses.total, share)
                        for name, value in losses.parts.items():
                            name = f"loss_{name}" if state.objective.parts_are_losses else name
                            _add(numbers, f"{turn.prefix}{name}", value, share)
            with meter.span("optimizer"):
                norm = precision.step(
                    turn.optimizer, turn.weights, self._config.optimizer.clip_norm
                )
        if precision.kind != "fp16":  # whose scaler skips such steps by itself
            self._watch.see(norm, step + 1)
        if numbers is not None:
            numbers[f"{turn.prefix}grad_norm"] = norm


def _reseed(seed: int, step: int, rank: int) -> None:
    """Make dropout and the like a function of (seed, step, rank): no generator needs saving."""
    torch.manual_seed(hash((seed, step, rank)) & (2**63 - 1))


def _add(numbers: dict[str, Tensor], name: str, value: Tensor, share: float) -> None:
    value = value.detach() * share
    numbers[name] = numbers[name] + value if name in numbers else value
