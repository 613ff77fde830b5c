"""What only the flow family promises; what all families promise is in test_families."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from models.tiny import tiny_batch, tiny_config
from pydantic import ValidationError

from vidgen.models.base import build_objective
from vidgen.models.flow.model import FlowModel
from vidgen.models.flow.objective import FlowObjective
from vidgen.models.flow.sampler import SAMPLERS, shifted, times
from vidgen.nn.patches import patchify, unpatchify
from vidgen.types import Batch, Condition

EVERY = ["label", "text", "image", "sketch", "past"]


def flow(**model: object) -> tuple[FlowObjective, Batch]:
    torch.manual_seed(0)
    config = tiny_config("flow", **model)
    objective = build_objective(config)
    assert isinstance(objective, FlowObjective)
    return objective, tiny_batch(config)


def wake(objective: FlowObjective) -> None:
    """Give the zero-initialised layers weights, so that inputs reach the output."""
    torch.manual_seed(1)
    for weight in objective.parameters():
        if not weight.any():
            torch.nn.init.normal_(weight, std=0.2)


def test_patches_come_back() -> None:
    video = torch.randn(2, 3, 4, 6, 8)
    rows = patchify(video, (2, 3, 4))
    assert rows.shape == (2, 2 * 2 * 2, 3 * 2 * 3 * 4)
    assert torch.equal(rows[0, 0], video[0, :, :2, :3, :4].flatten())
    assert torch.equal(unpatchify(rows, (3, 4, 6, 8), (2, 3, 4)), video)


@pytest.mark.parametrize("name", EVERY)
def test_every_condition_is_seen_and_can_be_dropped(name: str) -> None:
    objective, batch = flow(conditions=[name], past_frames=2 if name == "past" else 0)
    wake(objective)
    network = objective.model.network
    noisy, t = torch.randn_like(batch.video), torch.full((4,), 0.3)
    cond = batch.cond.only(name)
    shown = network(noisy, t, cond)
    hidden = network(noisy, t, Condition())
    assert not torch.allclose(shown, hidden, atol=1e-4)
    keep = {name: torch.tensor([True, False, True, False])}
    mixed = network(noisy, t, cond, keep)
    torch.testing.assert_close(mixed[::2], shown[::2], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mixed[1::2], hidden[1::2], rtol=1e-4, atol=1e-5)


def test_the_noise_level_is_seen() -> None:
    objective, batch = flow()
    wake(objective)
    outs = [
        objective.model.estimate(batch.video, torch.full((4,), t), batch.cond) for t in (0.1, 0.9)
    ]
    assert not torch.allclose(*outs, atol=1e-3)


def test_starts_from_zero() -> None:
    objective, batch = flow()
    assert not objective.model.network(batch.video, torch.rand(4), batch.cond).any()


def test_draws_follow_the_config() -> None:
    objective, _ = flow(shift=4.0)
    many = 2000
    video = torch.zeros(many, 3, 4, 8, 8)
    draws = objective.draw(
        Batch(video=video, cond=Condition(), seed=torch.arange(many) * 7919 + 2**40), video
    )
    assert draws.t.median() == pytest.approx(1 / 5, abs=0.03)  # 1/2, shifted
    assert (draws.t > 0.7).float().mean() > 0.02  # the even share reaches everywhere
    assert draws.noise.std() == pytest.approx(1, abs=0.01)
    shown = torch.stack([draws.keep[name] for name in sorted(draws.keep)]).float()  # (3, many)
    assert (shown.sum(0) == 0).float().mean() == pytest.approx(0.1, abs=0.03)
    assert shown[0].mean() == pytest.approx(0.81, abs=0.03)


def test_draws_differ_between_seeds_and_repeat_for_one() -> None:
    objective, batch = flow()
    first, again = objective.draw(batch, batch.video), objective.draw(batch, batch.video)
    assert torch.equal(first.noise, again.noise)
    assert not torch.equal(first.noise[0], first.noise[1])


def test_both_predictions_learn_the_same_thing() -> None:
    """With zero output, a velocity network sees the noisy video as video, the other sees gray."""
    objective, batch = flow(predict="velocity")
    draws = objective.draw(batch, batch.video)
    share = draws.t[:, None, None, None, None]
    noisy = share * batch.video + (1 - share) * draws.noise
    seen = objective.model.estimate(noisy, draws.t, batch.cond)
    torch.testing.assert_close(seen, noisy)


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_samplers_follow_a_straight_line_exactly(name: str) -> None:
    noise, video = torch.randn(2, 1, 3, 2, 4, 4)
    for steps in (1, 5):
        end = SAMPLERS[name](lambda x, t: (video - x) / (1 - t), noise, times(steps, 6.0))
        torch.testing.assert_close(end, video, rtol=1e-4, atol=1e-5)


def test_heun_is_more_exact_on_a_curve() -> None:
    errors = {
        name: abs(
            float(sampler(lambda x, t: x, torch.ones(1, dtype=torch.float64), times(8, 1.0)))
            - math.e
        )
        for name, sampler in SAMPLERS.items()
    }
    assert errors["heun"] < errors["euler"] / 2


def test_times_rise_from_noise_to_video_and_dwell_on_noise() -> None:
    stops = times(10, 6.0)
    assert (stops[0], stops[-1]) == (0.0, 1.0)
    assert all(now < then for now, then in pairwise(stops))
    assert stops[5] == pytest.approx(1 / 7)
    assert torch.equal(shifted(torch.tensor([0.0, 0.5, 1.0]), 1.0), torch.tensor([0.0, 0.5, 1.0]))


def test_guidance_of_one_calls_the_network_once_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    objective, batch = flow(sample_steps=3)
    model, calls = objective.model, []
    assert isinstance(model, FlowModel)
    real = model.estimate
    monkeypatch.setattr(model, "estimate", lambda *args: calls.append(1) or real(*args))
    for cond, guidance, expected in (
        (batch.cond, 1.0, 3),
        (batch.cond, 3.0, 6),
        (Condition(), 3.0, 3),
    ):
        calls.clear()
        model.sample(cond, 4, guidance=guidance)
        assert len(calls) == expected


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ({"width": 50}, "width 50 over heads 2"),
        ({"patch": [3, 4, 4]}, "data.frames 4 must be a multiple of model.patch's 3"),
        ({"conditions": ["past"]}, "go together"),
        ({"past_frames": 2}, "go together"),
    ],
)
def test_refuses_what_does_not_fit(model: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        tiny_config("flow", **model)
