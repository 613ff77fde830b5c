"""The same promises for the forms of a family that its tiny config does not have."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from models.test_families import adam, check_bf16, one_step, seeded
from models.tiny import tiny_batch, tiny_config

from vidgen.models.base import Objective, build_objective
from vidgen.types import Batch

# fmt: off
CODEC = {
    "run": "nowhere",
    "model": {
        "family": "vae", "patch": [2, 4, 4], "widths": [8], "blocks": [1], "shrink": [],
        "latent_channels": 4,
    },
}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "gru": ("recurrent", {"cell": "gru"}),
    "truncated": ("recurrent", {"truncate": 2}),
    "trend": ("convolutional", {"trend": True}),
    "rolled trend": ("recurrent", {"trend": True}),
    "tokens": ("vae", {"levels": [8] * 10}),
    "critic": ("vae", {"loss": {"pixel": "l1", "adversarial": 0.05, "critic_width": 4}}),
    "latents": ("flow", {"codec": CODEC, "patch": [1, 1, 1]}),
    "hinge": ("gan", {"loss": "hinge"}),
    "grown": ("gan", {"grow": [1], "fade_steps": 2}),
    "coarse": ("gan", {"coarse": 5.0}),
}
# fmt: on


@pytest.fixture(params=list(VARIANTS))
def variant(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def build(variant: str) -> tuple[Objective, Batch]:
    torch.manual_seed(0)
    family, model = VARIANTS[variant]
    config = tiny_config(family, **model)
    return build_objective(config), tiny_batch(config)


def test_learns_one_batch(variant: str) -> None:
    """Of two networks that pull opposite ways only the first step's promise is kept: no NaN."""
    objective, batch = build(variant)
    optimizers = adam(objective)
    before = float(objective.eval().validation_loss(batch).total.mean().detach())
    objective.train()
    for _ in range(20):
        one_step(objective, optimizers, batch)
    after = float(objective.eval().validation_loss(batch).total.mean().detach())
    assert after < before if len(objective.turns()) == 1 else after == after


def test_sample_is_deterministic(variant: str) -> None:
    objective, batch = build(variant)
    model = objective.model.eval()
    videos = [
        model.sample(batch.cond, len(batch), guidance=1.5, generator=seeded(1)) for _ in range(2)
    ]
    assert videos[0].shape == batch.video.shape
    assert torch.equal(*videos)


def test_batch_is_what_two_accumulated_halves_are(variant: str) -> None:
    objective, batch = build(variant)
    for turn in objective.turns():
        whole = objective.loss(turn, batch[:2], 3).total
        halves = [objective.loss(turn, batch[n : n + 1], 3).total for n in range(2)]
        torch.testing.assert_close(whole, torch.stack(halves).mean(), rtol=1e-4, atol=1e-6)


def test_trains_under_bf16_autocast(variant: str) -> None:
    check_bf16(*build(variant))
