"""What only the gan family promises: growth without a jump, fair augmentation, penalties."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.models.base import build_objective
from vidgen.models.gan.augment import augmented, draw_changes
from vidgen.models.gan.network import _moved, smaller
from vidgen.models.gan.objective import GanObjective


def gan(**model: object) -> GanObjective:
    torch.manual_seed(0)
    objective = build_objective(tiny_config("gan", **model))
    assert isinstance(objective, GanObjective)
    return objective


def test_grows_through_every_level_without_a_jump() -> None:
    """At a transition the new level is blended in from nothing: what the discriminator sees of
    both real and made clips, and so its loss, stays what it was."""
    objective = gan(grow=[10], fade_steps=5, penalty_every=1000, augment=0)
    batch = tiny_batch(tiny_config("gan"))
    losses = [float(objective.loss("critic", batch, step).total) for step in (9, 10, 12, 15)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert losses[1] != pytest.approx(losses[2], rel=1e-5)
    model = objective.model
    assert (int(model.level), float(model.fade)) == (1, 1.0)
    shapes = []
    for step in (0, 10):
        model.grow(step)
        shapes.append(model.make(torch.randn(2, 8), batch.cond[:2]).shape[1:])
    assert shapes == [(3, 2, 4, 4), (3, 4, 8, 8)]
    model.grow(0)
    cond = batch.cond
    assert model.sample(cond, 4).shape == batch.video.shape  # enlarged


def test_every_level_trains_all_the_way() -> None:
    objective = gan(grow=[2], fade_steps=2)
    batch = tiny_batch(tiny_config("gan"))
    optimizers = {t: torch.optim.Adam(n.parameters()) for t, n in objective.turns().items()}
    for step in range(6):
        for turn, network in objective.turns().items():
            network.zero_grad()
            losses = objective.loss(turn, batch, step)
            losses.total.backward()
            assert losses.total.isfinite()
            assert all(w.grad is not None for w in network.parameters())  # for ranks to add up
            optimizers[turn].step()


def test_halving_takes_doubling_back() -> None:
    video = torch.randn(2, 3, 2, 4, 4)
    doubled = torch.nn.functional.interpolate(video, scale_factor=2, mode="nearest")
    torch.testing.assert_close(smaller(doubled, 1), video)


def test_augmentation_treats_all_frames_alike() -> None:
    """A still clip stays still, whatever is done to it; different clips are changed differently."""
    still = torch.rand(16, 3, 1, 16, 16).expand(-1, -1, 4, -1, -1) * 2 - 1
    draws = draw_changes(torch.arange(16) * 7919, 1)
    changed = augmented(still, 0.8, draws)
    torch.testing.assert_close(changed, changed[:, :, :1].expand_as(changed))
    moved = [not torch.equal(a, b) for a, b in zip(changed, still, strict=True)]
    assert sum(moved) > 8
    assert torch.equal(augmented(still, 0.0, draws), still)
    assert torch.equal(changed[3:5], augmented(still[3:5], 0.8, draws[3:5]))
    video = still.clone().requires_grad_()
    augmented(video, 0.8, draws).sum().backward()
    assert video.grad is not None


def test_augments_more_often_while_the_discriminator_is_sure() -> None:
    objective = gan(augment_speed=0.01)
    seen = []
    for step, margin in enumerate([1.0, 1.0, 1.0, -1.0, -1.0]):
        objective._adapt(step)
        seen.append(float(objective.often))
        objective._remember(torch.full((4, 1), margin), torch.zeros(4, 1))
    assert seen == pytest.approx([0, 0.04, 0.08, 0.12, 0.08])
    objective.eval()._remember(torch.ones(4, 1), torch.zeros(4, 1))
    assert float(objective.seen) == 4  # validation does not count


def test_penalties_come_every_so_often_and_count_for_the_steps_between() -> None:
    objective = gan(penalty_every=4, augment=0)
    batch = tiny_batch(tiny_config("gan"))
    with_penalty, without = (objective.loss("critic", batch, step) for step in (4, 5))
    assert with_penalty.total > with_penalty.parts["marks"]
    torch.testing.assert_close(without.total.detach(), without.parts["marks"])


def test_coarse_colours_count_less_and_less() -> None:
    objective = gan(coarse=2.0, coarse_until=10, augment=0)
    batch = tiny_batch(tiny_config("gan"))
    for step, weight in ((0, 2.0), (5, 1.0), (10, 0.0), (11, 0.0)):
        losses = objective.loss("model", batch, step)
        coarse = losses.parts.get("coarse", torch.zeros(()))
        more = losses.total - losses.parts["fooling"]
        torch.testing.assert_close(more.detach(), weight * coarse)
        assert bool(coarse > 0) == bool(weight)


@pytest.mark.parametrize("name", ["label", "text", "image"])
def test_generator_and_discriminator_see_each_condition(name: str) -> None:
    objective = gan(conditions=[name])
    batch = tiny_batch(tiny_config("gan", conditions=[name]))
    other = batch.cond[torch.tensor([1, 2, 3, 0])]
    noise = torch.randn(4, 8)
    made, differently = (objective.model.make(noise, cond) for cond in (batch.cond, other))
    assert not torch.allclose(made, differently, atol=1e-4)
    marks = [objective._mark(cond, 4)(batch.video) for cond in (batch.cond, other)]
    assert not torch.allclose(*marks, atol=1e-5)


def test_a_picture_moves_on_from_frame_to_frame() -> None:
    image = torch.zeros(2, 3, 16, 16)
    image[:, :, 8, 4] = 1.0
    motion = torch.zeros(2, 2, 2, 4, 4)
    motion[0, 0], motion[1, 1] = 2 * 1 / 16, 2 * -2 / 16  # one column right; two rows up
    moved = _moved(image, motion, torch.Size((4, 16, 16)))
    assert moved.shape == (2, 3, 4, 16, 16)
    torch.testing.assert_close(moved[:, :, 0], image)
    for frame in range(4):
        right, up = torch.roll(image[0], frame, 2), torch.roll(image[1], -2 * frame, 1)
        torch.testing.assert_close(moved[0, :, frame], right, atol=1e-4, rtol=0)
        torch.testing.assert_close(moved[1, :, frame], up, atol=1e-4, rtol=0)


def test_a_generator_learns_how_a_picture_moves() -> None:
    objective = gan(conditions=["image"], coarse=1.0, coarse_box=1, coarse_until=0)
    batch = tiny_batch(tiny_config("gan", conditions=["image"]))
    objective.loss("model", batch, 10**6).total.backward()
    motion = objective.model.generator.motion
    assert motion is not None
    assert motion.weight.grad is not None
    assert motion.weight.grad.abs().sum() > 0


def test_a_clip_that_is_not_finite_shows_in_the_loss() -> None:
    objective = gan()
    batch = tiny_batch(tiny_config("gan"))
    broken = dataclasses.replace(batch, video=batch.video * float("nan"))
    assert not objective.loss("critic", broken, 1).total.isfinite()


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"grow": [5, 9]}, "grow needs 1 steps"),
        ({"critic_widths": [4]}, "critic_widths needs 2 widths"),
        ({"widths": [8, 8, 8], "grow": [5, 9]}, "must lie 200 fade_steps apart"),
        ({"widths": [8, 8, 8, 8]}, r"data.frames 4 must be a multiple of the gan's 8"),
    ],
)
def test_refuses_what_does_not_fit(model: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tiny_config("gan", **model)
