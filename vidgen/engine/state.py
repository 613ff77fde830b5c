"""Everything that training changes, as one tree of tensors that a checkpoint can hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict

from vidgen.config.run import RunConfig
from vidgen.engine.blocks import prepare_blocks
from vidgen.engine.codec import install_codec
from vidgen.engine.distributed import Ranks
from vidgen.engine.ema import Ema
from vidgen.engine.objective import begin, objective_of
from vidgen.engine.optim import build_optimizer, check_groups
from vidgen.engine.precision import Precision, choose_precision
from vidgen.engine.sharding import Sharded
from vidgen.engine.strategy import choose_strategy
from vidgen.models.base import Objective

Tree = dict[str, Any]  # nested dicts with tensors as leaves


class State:
    """An objective in training.

    Args:
        start: weights of a trained model, that reward fine-tuning begins with.

    Attributes:
        step: optimizer steps done; the next batch is this one, counted from 0.
        objective, ema, optimizers, precision: what the steps change; optimizers by turn.
        strategy: how ranks share it.
        sharded: the objective spread over ranks; None when every rank has all of it.
    """

    def __init__(
        self,
        config: RunConfig,
        device: torch.device,
        ranks: Ranks | None = None,
        *,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        ranks = Ranks(device=device) if ranks is None else ranks
        torch.manual_seed(config.seed)  # the same first weights on every rank
        self.step = 0
        self.objective: Objective = objective_of(config)
        install_codec(self.objective, config)
        if start is not None:
            begin(self.objective, start)
        self.precision = Precision(choose_precision(config.train.precision, device), device)
        self.strategy = ranks.from_lead(partial(choose_strategy, config, self.objective, ranks))
        prepare_blocks(self.objective, config.train)
        self.sharded: Sharded | None = None
        if self.strategy.kind == "ddp":
            self.objective.to(device)
        else:
            self.sharded = Sharded(self.objective, ranks, replicas=self.strategy.replicas)
        check_groups(config.optimizer, self.objective)
        self.ema = Ema(self.objective.model, config.train.ema_decay)
        self.optimizers = {
            turn: build_optimizer(config.optimizer, network, name=turn)
            for turn, network in self.objective.turns().items()
        }

    def tree(self) -> Tree:
        """Live tensors by name: writing into them, as loading a checkpoint does, changes the state.

        Optimizer state goes by parameter name. Settings (learning rate, betas) are the config's and
        the data position is `step`, so there are tensors and nothing else.
        """
        return {
            "objective": self.objective.state_dict(),
            "ema": self.ema.averaged,
            "optimizers": {
                turn: _moments(self.objective.turns()[turn], optimizer)
                for turn, optimizer in self.optimizers.items()
            },
            "precision": self.precision.tensors(),
        }

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """The model holds its averaged weights inside, all of them on every rank."""
        with self.ema.applied(), self.sharded.gathered() if self.sharded else nullcontext():
            yield

    def loaded(self, step: int) -> None:
        """Take over what is no live tensor, after a checkpoint of `step` was read into `tree`."""
        self.step = step
        self.precision.load()

    def describe(self, world: int) -> str:
        """'4.2 M weights, fp32 on 2 x cpu, from step 0 (0.1 GB of state fits in 40 GB: ddp)'."""
        weights = sum(p.numel() for p in self.objective.parameters())
        on = f"{world} x {self.precision.device.type}" if world > 1 else self.precision.device.type
        return (
            f"{weights / 1e6:.1f} M weights, {self.precision.kind} on {on}, from step {self.step} "
            f"({self.strategy.why})"
        )


def _moments(
    network: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> dict[str, dict[str, Tensor]]:
    """An optimizer's tensors by parameter name; made, as zeros, before its first step."""
    state: dict[str, dict[str, Any]] = get_optimizer_state_dict(network, optimizer)["state"]  # type: ignore[assignment]
    return {
        name: {key: value for key, value in values.items() if isinstance(value, Tensor)}
        for name, values in state.items()
    }
