"""Every packaged recipe loads, survives a round trip through YAML, and takes one step."""

from __future__ import annotations

import pytest
import torch
from models.tiny import tiny_batch

from vidgen.config.load import dump, load_run, parse_run, recipe_names
from vidgen.models.base import build_objective


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_and_round_trips(name: str) -> None:
    config = load_run(name)
    assert config.name == name
    assert config.description
    assert parse_run(dump(config), name) == config


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_takes_one_step(name: str) -> None:
    torch.manual_seed(0)
    config = load_run(name, ["data.labels=[a, b]"])
    objective = build_objective(config)
    batch = tiny_batch(config, size=1)
    for turn, network in objective.turns().items():
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        losses = objective.loss(turn, batch, 0)
        losses.total.backward()
        optimizer.step()
        assert torch.isfinite(losses.total)
