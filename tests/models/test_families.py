"""What every model family promises, whatever is inside."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import get_args

import pytest
import torch
from models.tiny import TINY, tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.config.base import ConditionName
from vidgen.config.families import FAMILIES, config_class, families_reading
from vidgen.errors import ModelError
from vidgen.models.base import Objective, build_objective
from vidgen.types import Batch, Condition

# Other tests add rows of their own to the table.
CONDITIONS: tuple[ConditionName, ...] = get_args(ConditionName)
SHIPPED = sorted(name for name, package in FAMILIES.items() if package.startswith("vidgen."))


def test_every_family_is_tested() -> None:
    assert set(TINY) == set(SHIPPED)


@pytest.fixture(params=SHIPPED)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(family: str) -> tuple[Objective, Batch]:
    torch.manual_seed(0)
    config = tiny_config(family)
    return build_objective(config), tiny_batch(config)


def one_step(
    objective: Objective, optimizers: dict[str, torch.optim.Optimizer], batch: Batch
) -> float:
    total = 0.0
    for turn in objective.turns():
        optimizers[turn].zero_grad()
        losses = objective.loss(turn, batch, 0)
        losses.total.backward()
        optimizers[turn].step()
        total = float(losses.total.detach())
    return total


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def adam(objective: Objective) -> dict[str, torch.optim.Optimizer]:
    """By turn; with two networks that pull opposite ways, without momentum."""
    lr, betas = (3e-3, (0.9, 0.999)) if len(objective.turns()) == 1 else (2e-3, (0.0, 0.99))
    return {
        turn: torch.optim.Adam(network.parameters(), lr=lr, betas=betas)
        for turn, network in objective.turns().items()
    }


def test_config_needs_no_torch(family: str) -> None:
    code = f"import sys, {FAMILIES[family]}.config; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_losses_are_finite_scalars_with_named_parts(family: str) -> None:
    objective, batch = build(family)
    for turn in objective.turns():
        losses = objective.loss(turn, batch, 0)
        assert losses.total.shape == ()
        assert torch.isfinite(losses.total)
        assert losses.parts
        assert all(not part.requires_grad and part.ndim == 0 for part in losses.parts.values())


def test_every_trained_weight_gets_a_gradient(family: str) -> None:
    """Zero-initialised layers hide those behind them for a step or two, so look after a few."""
    objective, batch = build(family)
    optimizers = adam(objective)
    reached: set[str] = set()
    for _ in range(4):
        one_step(objective, optimizers, batch)
        reached |= {
            name
            for name, weight in objective.named_parameters()
            if weight.grad is not None and bool(weight.grad.abs().sum() > 0)
        }
    missing = {n for n, w in objective.named_parameters() if w.requires_grad} - reached
    assert not missing


def test_loss_does_not_depend_on_how_the_batch_is_shared(family: str) -> None:
    objective, batch = build(family)
    for turn in objective.turns():
        whole = objective.loss(turn, batch, 7).total
        parts = [objective.loss(turn, batch[i : i + 1], 7).total for i in range(len(batch))]
        torch.testing.assert_close(whole, torch.stack(parts).mean(), rtol=1e-4, atol=1e-6)


def test_validation_loss_is_per_sample_and_repeatable(family: str) -> None:
    objective, batch = build(family)
    objective.eval()
    with torch.no_grad():
        first = objective.validation_loss(batch)
        torch.manual_seed(99)
        again = objective.validation_loss(batch[1:3])
    assert first.total.shape == (len(batch),)
    torch.testing.assert_close(first.total[1:3], again.total, rtol=1e-4, atol=1e-6)


def test_overfits_one_batch(family: str) -> None:
    objective, batch = build(family)
    optimizers = adam(objective)
    if family == "gan":  # which is not told which pixels are wrong: it learns colours first
        plain = batch.video[:, :, :1, :1, :1].expand_as(batch.video).contiguous()
        cond = dataclasses.replace(batch.cond, image=plain[:, :, 0])
        batch = dataclasses.replace(batch, video=plain, cond=cond)
    before = float(objective.eval().validation_loss(batch).total.mean().detach())
    objective.train()
    for _ in range(150):
        one_step(objective, optimizers, batch)
    after = float(objective.eval().validation_loss(batch).total.mean().detach())
    assert after < 0.6 * before


def test_sample_is_deterministic_given_a_generator(family: str) -> None:
    objective, batch = build(family)
    model = objective.model.eval()

    def draw(seed: int) -> torch.Tensor:
        return model.sample(batch.cond, len(batch), guidance=1.5, generator=seeded(seed))

    video = draw(1)
    assert video.shape == batch.video.shape
    assert video.min() >= -1
    assert video.max() <= 1
    assert torch.equal(video, draw(1))
    assert torch.equal(video, draw(2)) != model.random


@pytest.mark.parametrize("condition", CONDITIONS)
def test_takes_each_condition_or_names_the_families_that_do(
    family: str, condition: ConditionName
) -> None:
    takers = families_reading(condition)
    tiny = dict(TINY[family])
    names = sorted({*tiny.get("conditions", config_class(family).needs), condition})
    past = {"past_frames": tiny.get("past_frames", 2)} if "past" in names else {}
    if family not in takers:
        with pytest.raises(ValidationError, match=f"take no '{condition}' condition") as refused:
            tiny_config(family, conditions=names, **past)
        assert f"families that do: {', '.join(takers)}" in str(refused.value)
        return
    torch.manual_seed(0)
    config = tiny_config(family, conditions=names, **past)
    objective, batch = build_objective(config), tiny_batch(config)
    assert objective.model.conditions == set(names)
    for _ in range(3):  # zero-initialised layers hide those behind them at first
        one_step(objective, adam(objective), batch)
    video = objective.model.eval().sample(batch.cond, len(batch), generator=seeded(0))
    assert video.isfinite().all()


def test_refuses_a_condition_it_was_not_trained_with(family: str) -> None:
    torch.manual_seed(0)
    config = tiny_config(family, conditions=sorted(config_class(family).needs))
    model = build_objective(config).model
    unread = sorted(set(CONDITIONS) - model.conditions)[0]
    cond = Condition(**{name: torch.zeros(1) for name in {unread, *model.needs}})
    with pytest.raises(ModelError, match=f"takes no '{unread}' condition") as refused:
        model.sample(cond, 1)
    assert ", ".join(families_reading(unread)) in str(refused.value)


def test_labels_need_classes(family: str) -> None:
    config = tiny_config(family)
    if "label" not in config.model.conditions:
        pytest.skip("reads no label")
    without = config.data.model_copy(update={"labels": ()})
    with pytest.raises(ModelError, match="no labels"):
        build_objective(config.model_copy(update={"data": without}))


def test_says_what_it_cannot_do_without(family: str) -> None:
    torch.manual_seed(0)
    needs = config_class(family).needs
    for name in needs:
        with pytest.raises(ValidationError, match=f"need the condition '{name}'"):
            tiny_config(family, conditions=[], past_frames=0)
        with pytest.raises(ModelError, match=f"needs the condition '{name}'"):
            build_objective(tiny_config(family)).model.sample(Condition(), 1)
    if not needs and not TINY[family].get("codec"):
        config = tiny_config(family, conditions=[])
        video = build_objective(config).model.eval().sample(Condition(), 2, generator=seeded(0))
        assert len(video) == 2


def test_batch_is_what_two_accumulated_halves_are(family: str) -> None:
    """Gradients of a batch of two, and the mean of those of two batches of one."""
    objective, batch = build(family)
    for turn, network in objective.turns().items():
        gradients = []
        for parts in ([batch[:2]], [batch[:1], batch[1:2]]):
            network.zero_grad()
            for part in parts:
                (objective.loss(turn, part, 3).total / len(parts)).backward()
            gradients.append([w.grad.clone() for w in network.parameters() if w.grad is not None])
        whole, halves = gradients
        scale = max(float(each.abs().max()) for each in whole)
        for one, two in zip(whole, halves, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-3, atol=1e-5 * scale + 1e-8)


def check_bf16(objective: Objective, batch: Batch) -> None:
    """Under autocast losses stay fp32 and finite, and can be differentiated."""
    for turn in objective.turns():
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = objective.loss(turn, batch, 0)
        assert losses.total.dtype == torch.float32
        losses.total.backward()
        assert torch.isfinite(losses.total)


def test_trains_under_bf16_autocast(family: str) -> None:
    check_bf16(*build(family))


def test_state_dict_holds_every_weight(family: str) -> None:
    objective, batch = build(family)
    one_step(objective, adam(objective), batch)
    torch.manual_seed(5)
    other = build_objective(tiny_config(family))
    other.load_state_dict(objective.state_dict())
    for turn in objective.turns():
        assert torch.equal(objective.loss(turn, batch, 1).total, other.loss(turn, batch, 1).total)


def test_blocks_are_called(family: str) -> None:
    """Each is sharded, recomputed and compiled by itself, which only works for what is called."""
    objective, batch = build(family)
    called: set[int] = set()
    for number, block in enumerate(objective.blocks()):
        block.register_forward_hook(lambda *_, number=number: called.add(number))
    for turn in objective.turns():
        objective.loss(turn, batch, 0)
    assert called == set(range(len(objective.blocks())))
    assert called
