"""Ranks that share one model: the same curve under every strategy, and checkpoints that move
between world sizes and strategies."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from engine.conftest import MakeConfig
from engine.ranks import on_ranks
from engine.test_interrupt import FLOW
from engine.test_train import curve, weights
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.distributed.tensor import DTensor

from vidgen.config.run import OptimizerConfig, RunConfig
from vidgen.engine import strategy
from vidgen.engine.distributed import Ranks, join_ranks
from vidgen.engine.optim import build_optimizer
from vidgen.engine.precision import Precision
from vidgen.engine.sharding import Sharded, parts
from vidgen.engine.state import State
from vidgen.engine.strategy import state_bytes
from vidgen.engine.train import train
from vidgen.engine.turns import Turn
from vidgen.errors import ConfigError
from vidgen.models.base import Objective, build_objective
from vidgen.storage.run_folder import RunFolder
from vidgen.types import Batch, Condition


def config_of(
    make_config: MakeConfig, run: Path, kind: str, *, flow: bool = True, **train: object
) -> RunConfig:
    config = make_config(run=str(run), scale={"strategy": kind}, train=train)
    return RunConfig.model_validate({**config.model_dump(mode="json"), "model": FLOW}) if flow \
        else config  # fmt: skip


def until(config: RunConfig, steps: int) -> RunConfig:
    """The first steps of a run, with the schedule of all of it: as if killed after them."""
    return config.model_copy(update={"train": config.train.model_copy(update={"steps": steps})})


def assert_close(one: str, other: str) -> None:
    for a, b in zip(curve(one), curve(other), strict=True):
        assert a == pytest.approx(b, rel=2e-3)
    for name, value in weights(one).items():
        assert torch.allclose(value, weights(other)[name], rtol=1e-3, atol=2e-4), name


def held(config: RunConfig) -> tuple[int, int]:
    """Numbers of weights that this rank holds, and that there are."""
    config = RunFolder(str(config.run)).config()  # with the labels of the data
    with join_ranks() as ranks:
        state = State(config, ranks.device, ranks)
        found = list(state.objective.parameters())
        assert all(isinstance(w, DTensor) for w in found)
        mine = sum(w.to_local().numel() for w in found)  # type: ignore[attr-defined]
        return mine, sum(w.numel() for w in found)


def fsdp_story(config: RunConfig, parts: RunConfig, duet: RunConfig) -> tuple[int, int]:
    """Train; write a checkpoint for others; go on from another's."""
    train(config)
    train(until(parts, 4))
    train(duet)
    return held(config)


def test_fsdp_trains_like_one_process_and_its_checkpoints_move(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    constant = {"schedule": {"kind": "constant", "warmup_steps": 2}}

    def config(name: str, kind: str, **keys: object) -> RunConfig:
        made = config_of(make_config, tmp_path / name, kind, **keys)  # type: ignore[arg-type]
        return RunConfig.model_validate({**made.model_dump(mode="json"), **constant})

    alone = train(config("alone", "auto"))
    duet = train(config("duet", "auto", flow=False))
    both = (config("fsdp", "fsdp"), config("parts", "fsdp"), config("duet2", "fsdp", flow=False))
    for mine, total in on_ranks(2, fsdp_story, *both):
        assert 0.4 < mine / total < 0.6
    assert_close(alone, str(both[0].run))
    assert_close(duet, str(both[2].run))
    folder = RunFolder(str(both[1].run))
    assert folder.read_json("checkpoints/step_00000004/COMMITTED")["world"] == 2
    names = {stat.key for stat in folder.store.list("checkpoints/step_00000004/")}
    assert any("__1_" in name for name in names)  # rank 1 wrote its own part

    # Two ranks under fsdp to one under ddp, and from one under ddp to two under fsdp.
    assert_close(alone, train(config("parts", "ddp")))
    train(until(config("back", "ddp"), 4))
    on_ranks(2, train, config("back", "fsdp"))
    assert_close(alone, str(tmp_path / "back"))


@pytest.mark.slow
def test_hsdp_keeps_a_replica_in_each_group(make_config: MakeConfig, tmp_path: Path) -> None:
    alone = train(config_of(make_config, tmp_path / "alone", "auto"))
    config = config_of(make_config, tmp_path / "hsdp", "hsdp")
    scale = config.scale.model_copy(update={"shard_ranks": 2})
    config = config.model_copy(update={"scale": scale})
    on_ranks(4, train, config)
    assert_close(alone, str(config.run))
    for mine, total in on_ranks(4, held, config):
        assert 0.4 < mine / total < 0.6


@pytest.mark.parametrize(
    ("need", "world", "local", "kind", "why"),
    [
        (4.1e9, 8, 4, "ddp", "4.1 GB of state fits in 40 GB: ddp"),
        (80e9, 8, 4, "hsdp", "80 GB of state fits in 4 x 40 GB: hsdp"),
        (80e9, 4, 4, "fsdp", "80 GB of state fits in 4 x 40 GB: fsdp"),
        (150e9, 8, 4, "fsdp", "150 GB of state fits in 8 x 40 GB: fsdp"),
        (900e9, 8, 4, "fsdp", "900 GB of state leaves little room in 8 x 40 GB: fsdp"),
    ],
)
def test_auto_shards_only_when_it_must(
    make_config: MakeConfig, need: float, world: int, local: int, kind: str, why: str
) -> None:
    ranks = Ranks(world=world, local=local)
    found = strategy._choose(make_config(), int(need), int(40e9), ranks)
    assert (found.kind, found.why) == (kind, why)


def test_sizes_are_for_people() -> None:
    found = [strategy.gigabytes(size) for size in (40e9, 4.13e9, 1e8, 2.3e7, 4e4)]
    assert found == ["40 GB", "4.1 GB", "0.1 GB", "23 MB", "0.04 MB"]


def test_hsdp_that_has_no_groups_is_refused(make_config: MakeConfig) -> None:
    config = make_config(scale={"strategy": "hsdp"})
    with pytest.raises(ConfigError, match="several groups of ranks: 4 ranks, 4 in a group"):
        strategy._choose(config, 1, 10, Ranks(world=4, local=4))


def test_state_bytes_are_what_a_state_holds(make_config: MakeConfig) -> None:
    config = make_config(data={"labels": ["dark", "light"]})
    objective = build_objective(config)
    expected = state_bytes(objective, config.optimizer, averaged=True)
    state = State(config, torch.device("cpu"))
    for network in state.objective.turns().values():
        for weight in network.parameters():
            weight.grad = torch.zeros_like(weight) if weight.requires_grad else None
    tensors = [
        *state.objective.parameters(),
        *(w.grad for w in state.objective.parameters() if w.grad is not None),
        *state.objective.buffers(),
        *state.ema.averaged.values(),
    ]
    held = sum(t.numel() * t.element_size() for t in tensors)
    for optimizer in state.optimizers.values():
        optimizer.step()
        held += sum(
            v.numel() * 4 for s in optimizer.state.values() for k, v in s.items() if k != "step"
        )
    assert held == expected


def count_and_sum(count, bucket):  # type: ignore[no-untyped-def]  # DDP reads annotations
    count[0] += 1
    return allreduce_hook(None, bucket)  # type: ignore[arg-type]


def sums_of_accumulating(config: RunConfig) -> list[int]:
    """How often gradients are summed over ranks, per part of a step."""
    with join_ranks() as ranks:
        state = State(config, ranks.device, ranks)
        turn = Turn(state.objective, "model", state.optimizers["model"], ranks, state.sharded)
        calls = [0]
        if isinstance(turn.losses, nn.parallel.DistributedDataParallel):
            turn.losses.register_comm_hook(calls, count_and_sum)
        batch = Batch(
            video=torch.zeros(8, 3, 4, 8, 8),
            cond=Condition(label=torch.zeros(8, dtype=torch.int64)),
            seed=torch.arange(8),
        )
        seen = []
        for part in turn.parts(batch, 4):
            before = calls[0]
            turn.losses(part, 0).total.backward()  # type: ignore[no-untyped-call]
            seen.append(calls[0] - before)
        return seen


def test_accumulating_sums_gradients_once(make_config: MakeConfig) -> None:
    config = make_config(model={"family": "duet", "conditions": ["label"]})
    config = config.model_copy(
        update={"data": config.data.model_copy(update={"labels": ("dark", "light")})}
    )
    for seen in on_ranks(2, sums_of_accumulating, config):
        assert seen[:3] == [0, 0, 0]
        assert seen[3] >= 1


def test_an_optimizer_is_fused_or_foreach() -> None:
    network = nn.Linear(2, 2)
    for name in ("adamw", "adam", "sgd", "rmsprop"):
        optimizer = build_optimizer(OptimizerConfig.model_validate({"name": name}), network)
        assert optimizer.defaults.get("fused") or optimizer.defaults.get("foreach")


class _Layers(nn.Module):
    """What `Sharded` asks of an objective."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))

    def blocks(self) -> list[nn.Module]:
        return list(self.layers)

    def loss(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.float().square().mean()


def scaled_steps(replicas: int) -> list[tuple[float, float, bool]]:
    """(norm, loss scale, whether weights moved) of fp16 steps; the third overflows on one rank."""
    with join_ranks() as ranks:
        layers = _Layers()
        model = Sharded(cast(Objective, layers), ranks, replicas=replicas)
        precision = Precision("fp16", ranks.device)
        optimizer = torch.optim.SGD(model.parameters(), 1e-2)
        found = []
        for step in range(4):
            x = torch.ones(4, 8) * (1e30 if step == 2 and ranks.rank == 1 else 1)
            with precision.autocast():
                loss = model("loss", x)
            precision.backward(loss)
            before = [w.clone() for w in parts(list(model.parameters()))]
            norm = precision.step(optimizer, list(model.parameters()), 1.0)
            optimizer.zero_grad()
            after = parts(list(model.parameters()))
            moved = any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
            found.append((float(norm), precision.scaler.get_scale(), moved))
        return found


@pytest.mark.parametrize(("world", "replicas"), [(2, 1), (4, 2)])
def test_fp16_of_sharded_weights_skips_an_overflow_on_every_rank(world: int, replicas: int) -> None:
    first, *others = on_ranks(world, scaled_steps, replicas)
    assert [moved for _, _, moved in first] == [True, True, False, True]
    assert first[3][1] < first[1][1]  # the loss scale went down
    for other in others:
        assert [line[1:] for line in other] == [line[1:] for line in first]
        assert [other[step][0] for step in (0, 1, 3)] == [first[step][0] for step in (0, 1, 3)]
