"""Losses that a config can choose: pixels, features, a critic."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models.tiny import tiny_batch, tiny_config

from vidgen.errors import ModelError
from vidgen.models.base import build_objective
from vidgen.models.compare import ClipLook, ComparingObjective
from vidgen.nn.losses import critic_loss, fooling_loss, gradient_penalty, pixel_error
from vidgen.nn.perceptual import Frozen, OrientedEnergy, build_features, perceptual_error


class Means(torch.nn.Module):
    """A stand-in for a user's network: two maps of a frame."""

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        return [frames, torch.nn.functional.avg_pool2d(frames, 2)]


def test_pixel_errors_are_torchs() -> None:
    video, truth = torch.randn(2, 2, 3, 4, 5, 5)
    for kind, function in (
        ("mse", torch.nn.MSELoss()),
        ("l1", torch.nn.L1Loss()),
        ("huber", torch.nn.HuberLoss(delta=0.5)),
    ):
        found = pixel_error(kind, video, truth, 0.5)
        assert found.shape == (2,)
        torch.testing.assert_close(found.mean(), function(video, truth))


@pytest.mark.parametrize("kind", ["relativistic", "hinge"])
def test_critic_and_maker_pull_opposite_ways(kind: str) -> None:
    real, made = torch.zeros(3, 1), torch.zeros(3, 1, requires_grad=True)
    (up,) = torch.autograd.grad(critic_loss(kind, real, made).sum(), made)
    (down,) = torch.autograd.grad(fooling_loss(kind, real, made).sum(), made)
    assert (up > 0).all()
    assert (down < 0).all()


def test_gradient_penalty_of_a_plane_is_its_slope() -> None:
    slope = torch.randn(3 * 2 * 4 * 4)
    video = torch.randn(5, 3, 2, 4, 4)
    found = gradient_penalty(lambda v: (v.flatten(1) @ slope)[:, None], video)
    torch.testing.assert_close(found, slope.square().sum().expand(5))


def test_filters_forgive_a_shift_and_not_a_blur() -> None:
    """Pixel errors say the opposite."""
    torch.manual_seed(0)
    noise = torch.nn.functional.avg_pool2d(torch.randn(1, 3, 66, 66), 3, 1)
    truth = noise[None].squeeze(0).unsqueeze(2)  # (1, 3, 1, 64, 64)
    shifted = truth.roll(1, -1)
    blurred = torch.nn.functional.avg_pool2d(noise, 5, 1, 2)[:, :, None]
    features = build_features("filters")
    looks = [float(perceptual_error(features, each, truth)) for each in (shifted, blurred)]
    pixels = [float(pixel_error("mse", each, truth)) for each in (shifted, blurred)]
    assert looks[0] < looks[1]
    assert pixels[0] > pixels[1]
    assert not list(OrientedEnergy().parameters())


def test_features_of_a_users_file(tmp_path: Path) -> None:
    file = tmp_path / "features.pt"
    torch.jit.script(Means()).save(str(file))
    features = build_features(str(file))
    video, truth = torch.randn(2, 2, 3, 2, 8, 8)
    assert perceptual_error(features, video, truth).shape == (2,)
    assert float(perceptual_error(features, truth, truth).sum()) == 0
    (tmp_path / "broken.pt").write_bytes(b"no module")
    for name in ("broken.pt", "missing.pt"):
        with pytest.raises(ModelError, match=f"{name} cannot be used"):
            build_features(str(tmp_path / name))


def test_judges_stay_in_evaluation_mode() -> None:
    """Dropout in a user's network would make the same video look different from itself."""
    judge = Frozen(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.Dropout(0.5)))
    owner = torch.nn.ModuleList([judge]).train()
    frames = torch.randn(2, 3, 4, 4)
    assert torch.equal(owner[0](frames), owner[0](frames))
    assert not any(weight.requires_grad for weight in owner.parameters())


def test_vidgen_clip_as_a_loss() -> None:
    """It sees that time runs backwards, passes gradients on, and is not trained itself."""
    torch.manual_seed(0)
    config = tiny_config("convolutional", loss={"perceptual": 0.5, "features": "vidgen-clip"})
    objective, batch = build_objective(config).train(), tiny_batch(config)
    assert isinstance(objective, ComparingObjective)
    assert objective.look is not None
    losses = objective.loss("model", batch, 0)
    losses.total.backward()
    assert set(losses.parts) == {"mse", "perceptual"}
    assert float(losses.parts["perceptual"]) > 0
    trained = {id(weight) for net in objective.turns().values() for weight in net.parameters()}
    look = ClipLook().train()
    assert not any(weight.requires_grad for weight in look.parameters())
    assert not any(id(weight) in trained for weight in objective.look.parameters())
    made = batch.video.clone().requires_grad_()
    assert float(look(batch.video, batch.video).sum()) < 1e-6
    error = look(made, batch.video.flip(2)).sum()
    assert float(error) > 1e-4
    (slope,) = torch.autograd.grad(error, made)
    assert slope.isfinite().all()
    assert slope.any()
    with pytest.raises(ModelError, match="cannot look at 3 frames"):
        look(batch.video[:, :, :3], batch.video[:, :, :3])


@pytest.mark.parametrize("kind", ["relativistic", "hinge"])
def test_a_critic_takes_turns_and_is_heard_from_its_step_on(kind: str) -> None:
    torch.manual_seed(0)
    loss = {
        "pixel": "l1", "perceptual": 0.5, "adversarial": 0.1, "adversarial_kind": kind,
        "adversarial_from": 5, "critic_width": 4,
    }  # fmt: skip
    config = tiny_config("convolutional", loss=loss)
    objective, batch = build_objective(config), tiny_batch(config)
    assert list(objective.turns()) == ["critic", "model"]
    learned = objective.loss("critic", batch, 0)
    assert set(learned.parts) == {"marks", "slope"}
    learned.total.backward()
    assert all(w.grad is None for w in objective.model.parameters())
    early, late = (objective.loss("model", batch, step) for step in (4, 5))
    assert set(late.parts) == {"l1", "perceptual", "fooling"}
    torch.testing.assert_close(late.total - early.total, 0.1 * late.parts["fooling"])
