"""What only models that go on from past frames promise: recurrent and convolutional."""

from __future__ import annotations

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.models.base import build_objective
from vidgen.models.convolutional.objective import ConvolutionalObjective
from vidgen.models.recurrent.model import RecurrentModel
from vidgen.models.recurrent.objective import RecurrentObjective

PREDICTORS = ["recurrent", "convolutional"]


def recurrent(**model: object) -> RecurrentObjective:
    torch.manual_seed(0)
    objective = build_objective(tiny_config("recurrent", **model))
    assert isinstance(objective, RecurrentObjective)
    return objective


def woken(objective: RecurrentObjective) -> RecurrentModel:
    """With weights where there were zeros, so that frames change."""
    for weight in objective.model.leave[-1].parameters():
        torch.nn.init.normal_(weight, std=0.2)
    return objective.model


@pytest.mark.parametrize("family", PREDICTORS)
def test_starts_as_the_last_frame_repeated(family: str) -> None:
    config = tiny_config(family)
    objective, batch = build_objective(config).eval(), tiny_batch(config)
    assert batch.cond.past is not None
    made = objective.model.sample(batch.cond, len(batch))
    assert torch.equal(made, batch.cond.past[:, :, -1:].expand_as(made))
    expected = (made - batch.video).square().flatten(1).mean(1)
    torch.testing.assert_close(objective.validation_loss(batch).total, expected)


@torch.no_grad()
def test_a_trend_goes_on_the_same_way_at_every_pixel() -> None:
    config = tiny_config("convolutional", trend=True)
    objective, batch = build_objective(config).eval(), tiny_batch(config)
    past = batch.cond.past
    assert isinstance(objective, ConvolutionalObjective)
    assert past is not None
    model = objective.model
    assert model.trend is not None
    model.trend.weights.weight[
        1, 1
    ] = -2.0  # the second frame to come, from the one before the last
    made, last = model(past), past[:, :, -1]
    torch.testing.assert_close(made[:, :, 1], last - 2 * (past[:, :, -2] - last))
    torch.testing.assert_close(made[:, :, 2], last)


@torch.no_grad()
def test_a_trend_goes_on_from_its_own_frames() -> None:
    objective, batch = recurrent(trend=True).eval(), tiny_batch(tiny_config("recurrent"))
    past, trend = batch.cond.past, objective.model.trend
    assert past is not None
    assert trend is not None
    trend.weights.weight[0, 1] = -1.0  # a pixel goes on changing as it did from frame to frame
    made = objective.model(past, 3)
    step = past[:, :, -1] - past[:, :, -2]
    for n in range(3):
        expected = past[:, :, -1] + (n + 1) * step
        torch.testing.assert_close(made[:, :, n - 3], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_learns_what_moves(cell: str) -> None:
    """A bright column that wanders to the right, one column a frame."""
    objective = recurrent(cell=cell)
    video = torch.full((8, 3, 7, 8, 8), -1.0)
    for n in range(8):
        for t in range(7):
            video[n, :, t, :, (n + t) % 8] = 1.0
    config = tiny_config("recurrent")
    batch = tiny_batch(config, size=8)
    past, future = video[:, :, :3].contiguous(), video[:, :, 3:].contiguous()
    cond = type(batch.cond)(past=past)
    batch = type(batch)(video=future, cond=cond, seed=batch.seed)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-2)
    for step in range(120):
        optimizer.zero_grad()
        objective.loss("model", batch, step).total.backward()
        optimizer.step()
    still = (past[:, :, -1:] - future).square().mean()
    made = objective.eval().model.sample(cond, 8)
    assert (made - future).square().mean() < 0.25 * still


def test_true_frames_are_fed_less_and_less() -> None:
    objective = recurrent(truth_until=100)
    batch = tiny_batch(tiny_config("recurrent"), size=200)
    shares = [objective.true_frames(batch, step).float().mean() for step in (0, 50, 100, 500)]
    assert shares[0] == 1
    assert shares[1] == pytest.approx(0.5, abs=0.06)
    assert shares[2:] == [0, 0]
    half = objective.true_frames(batch, 50)
    assert torch.equal(half[3:5], objective.true_frames(batch[3:5], 50))  # by seed, not by place


def test_true_frames_reach_the_next_prediction_alone() -> None:
    objective = recurrent()
    model = woken(objective)
    batch = tiny_batch(tiny_config("recurrent"))
    past = batch.cond.past
    assert past is not None
    free = model(past, 4)
    use = torch.tensor([[False, True, False, False]]).expand(4, -1)
    fed = model(past, 4, batch.video, use)
    assert torch.equal(free[:, :, :4], fed[:, :, :4])  # 2 of the past, then futures 0 and 1
    assert not torch.allclose(free[:, :, 4], fed[:, :, 4])


def test_gradients_stop_where_truncated() -> None:
    """The first past frame reaches the last prediction only without truncation."""
    batch = tiny_batch(tiny_config("recurrent"))
    past = batch.cond.past
    assert past is not None
    for truncate, reaches in ((0, True), (2, False)):
        model = woken(recurrent(truncate=truncate))
        first = past.clone().requires_grad_()
        model(first, 4)[:, :, -1].square().sum().backward()
        assert first.grad is not None
        assert bool(first.grad[:, :, 0].any()) == reaches
        assert any(weight.grad is not None for weight in model.cells.parameters())


@pytest.mark.parametrize(
    ("family", "model", "says"),
    [
        ("recurrent", {"patch": 3}, "data.height 8 must be a multiple of model.patch 3"),
        ("recurrent", {"kernel": 2}, "must be odd"),
        ("convolutional", {"levels": 4}, "data.height 8 must be a multiple of 16"),
        ("convolutional", {"past_frames": 0}, "go together"),
        ("convolutional", {"past_frames": 1, "trend": True}, "trend needs 2 past_frames"),
        ("recurrent", {"past_frames": 1, "trend": True}, "trend needs 2 past_frames"),
    ],
)
def test_refuses_what_does_not_fit(family: str, model: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tiny_config(family, **model)
