"""Every packaged recipe loads, survives a round trip through YAML, and takes one step."""

from __future__ import annotations

import pytest
import torch
from models.tiny import tiny_batch

from vidgen.config.load import dump, load_run, parse_run, recipe_names
from vidgen.config.run import RunConfig
from vidgen.models.base import build_objective


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_loads_and_round_trips(name: str) -> None:
    config = load_run(name)
    assert config.name == name
    assert config.description
    assert parse_run(dump(config), name) == config


CODECS = {  # the recipe, and settings, that make each
    "runs/shapes-vae": ("shapes-vae",),
    "runs/shapes-vae-64": ("shapes-vae-tokens", "model.shrink=[[2,2,2]]"),
    "runs/shapes-vae-tokens": ("shapes-vae-tokens",),
    "runs/clips-vae-a100": ("clips-vae-a100",),
    "runs/clips-vae-tokens-a100": ("clips-vae-tokens-a100",),
}


def with_known_codec(config: RunConfig) -> RunConfig:
    """The config as it is once the codec's run is known: that of the recipe which makes it."""
    codec = getattr(config.model, "codec", None)
    if codec is None:
        return config
    recipe, *settings = CODECS[codec.run]
    known = codec.model_copy(update={"model": load_run(recipe, settings).model})
    model = type(config.model).model_validate(config.model.model_dump() | {"codec": known})
    data = config.data
    model.check_video(frames=data.frames, height=data.height, width=data.width)
    return config.model_copy(update={"model": model})


@pytest.mark.parametrize("name", recipe_names())
def test_recipe_takes_one_step(name: str) -> None:
    torch.manual_seed(0)
    config = with_known_codec(load_run(name, ["data.labels=[a, b]"]))
    if name.endswith("-a100"):  # too large for a test: that it can be built is enough
        with torch.device("meta"):
            assert build_objective(config).turns()
        return
    objective = build_objective(config)
    batch = tiny_batch(config, size=1)
    for turn, network in objective.turns().items():
        optimizer = torch.optim.SGD(network.parameters(), lr=1e-3)
        losses = objective.loss(turn, batch, 0)
        losses.total.backward()
        optimizer.step()
        assert torch.isfinite(losses.total)
