"""data.mean and data.scale: what the model sees, and that nobody else notices."""

from __future__ import annotations

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.config.run import RunConfig
from vidgen.errors import ModelError
from vidgen.models.base import Objective, build_objective
from vidgen.models.levels import Levels
from vidgen.types import Batch, Condition

MEAN, SCALE = (0.2, -0.1, 0.0), (0.5, 0.6, 2.0)


def with_levels(config: RunConfig) -> RunConfig:
    values = config.model_dump()
    return RunConfig.model_validate(
        {**values, "data": {**values["data"], "mean": MEAN, "scale": SCALE}}
    )


def built(config: RunConfig) -> Objective:
    torch.manual_seed(0)
    return build_objective(config).eval()


@pytest.fixture(params=["flow", "gan", "recurrent", "convolutional"])
def pair(request: pytest.FixtureRequest) -> tuple[Objective, Objective, Batch]:
    """The same weights, of a model that sees pixels and one that does not; a batch."""
    config = tiny_config(request.param)
    return built(config), built(with_levels(config)), tiny_batch(config)


def by_hand(pixels: torch.Tensor) -> torch.Tensor:
    seen = pixels.clone()
    for channel, (mean, scale) in enumerate(zip(MEAN, SCALE, strict=True)):
        seen[:, channel] = ((pixels[:, channel] - mean) / scale).clamp(-1, 1)
    return seen


def seen_by_hand(batch: Batch) -> Batch:
    told = {
        name: by_hand(value) if name in ("image", "past") else value
        for name, value in batch.cond.items()
    }
    return Batch(video=by_hand(batch.video), cond=Condition(**told), seed=batch.seed)


def test_losses_are_those_of_what_it_sees(pair: tuple[Objective, Objective, Batch]) -> None:
    plain, other, batch = pair
    assert plain.state_dict().keys() == other.state_dict().keys()
    changed = seen_by_hand(batch)
    for turn in plain.turns():
        expected = plain.loss(turn, changed, 0).total
        assert torch.equal(other.loss(turn, batch, 0).total, expected)
        assert not torch.equal(plain.loss(turn, batch, 0).total, expected)
    expected = plain.validation_loss(changed).total
    assert torch.equal(other.validation_loss(batch).total, expected)


def test_samples_are_pixels(pair: tuple[Objective, Objective, Batch]) -> None:
    plain, other, batch = pair

    def sampled(objective: Objective, batch: Batch) -> torch.Tensor:
        return objective.model.beside(batch, generator=torch.Generator().manual_seed(1))

    made, expected = sampled(other, batch), sampled(plain, seen_by_hand(batch))
    wide = (1, 3, 1, 1, 1)
    expected = expected * torch.tensor(SCALE).view(wide) + torch.tensor(MEAN).view(wide)
    assert torch.allclose(made, expected.clamp(-1, 1), atol=1e-6)
    assert made.abs().max() <= 1
    assert not made.requires_grad


@pytest.mark.parametrize("family", ["gan", "recurrent", "convolutional"])
def test_rewards_can_be_followed_back_through_them(family: str) -> None:
    config = tiny_config(family)
    model, batch = built(with_levels(config)).model, tiny_batch(config)
    made = model.sample_with_grad(batch.cond.only(*model.conditions), len(batch))
    made.mean().backward()
    assert max(w.grad.abs().max() for w in model.parameters() if w.grad is not None) > 0


def test_a_video_that_is_made_over_not_at_all_stays() -> None:
    config = with_levels(tiny_config("flow"))
    objective, batch = built(config), tiny_batch(config)
    video = batch.video * 0.3  # within what the model sees
    made = objective.model.edit(
        video, batch.cond, strength=0.0, generator=torch.Generator().manual_seed(1)
    )
    assert torch.allclose(made, video, atol=1e-5)


def test_there_and_back() -> None:
    levels = Levels(MEAN, SCALE)
    pixels = torch.rand(2, 3, 4, 5, 6) * 0.6 - 0.3
    assert torch.allclose(levels.shown(levels.seen(pixels)), pixels, atol=1e-6)
    assert levels.seen(torch.ones(1, 3, 2, 2))[0, :2].eq(1).all()  # cut off


@pytest.mark.parametrize("family", ["vae", "autoregressive"])
def test_not_for_latents(family: str) -> None:
    with pytest.raises(ModelError, match=r"data\.mean"):
        built(with_levels(tiny_config(family)))


def test_values_are_checked() -> None:
    values = tiny_config("flow").model_dump()
    for wrong in ({"mean": [2, 0, 0]}, {"scale": [0, 1, 1]}, {"scale": [1, 1]}):
        with pytest.raises(ValidationError):
            RunConfig.model_validate({**values, "data": {**values["data"], **wrong}})
