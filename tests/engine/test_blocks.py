"""Recomputing, compiling and number formats: cheaper steps that train the same model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from engine.conftest import MakeConfig
from engine.test_interrupt import flow
from engine.test_train import curve, weights
from torch import nn

from vidgen.config.run import RunConfig, TrainConfig
from vidgen.engine.blocks import prepare_blocks
from vidgen.engine.precision import Precision, choose_precision
from vidgen.engine.train import train
from vidgen.errors import ConfigError
from vidgen.models.base import Objective, build_objective
from vidgen.storage.run_folder import RunFolder


def with_run(config: RunConfig, run: Path) -> RunConfig:
    return config.model_copy(update={"run": str(run)})


def test_recomputing_changes_no_bit(make_config: MakeConfig, tmp_path: Path) -> None:
    one = train(with_run(flow(make_config), tmp_path / "one"))
    two = train(with_run(flow(make_config, recompute=True), tmp_path / "two"))
    assert curve(one) == curve(two)
    for name, value in weights(one).items():
        assert value.equal(weights(two)[name])


def kept_for_backward(objective: Objective, config: RunConfig) -> int:
    """Bytes that a forward pass through a block keeps for the backward pass."""
    (block,) = objective.blocks()
    width, head = 24, 6
    kept = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal kept
        kept += tensor.numel() * tensor.element_size()
        return tensor

    x = torch.randn(2, 16, width, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        block(x, torch.randn(2, width), torch.ones(16, head), torch.ones(16, head))
    return kept


def test_recomputing_keeps_less(make_config: MakeConfig) -> None:
    config = RunFolder(train(flow(make_config, steps=1))).config()
    kept = []
    for recompute in (False, True):
        objective = build_objective(config)
        prepare_blocks(objective, TrainConfig(recompute=recompute))
        kept.append(kept_for_backward(objective, config))
    assert kept[1] < kept[0] / 3


def test_compiling_is_in_place(make_config: MakeConfig) -> None:
    config = RunFolder(train(flow(make_config, steps=1))).config()
    objective = build_objective(config)
    keys = list(objective.state_dict())
    prepare_blocks(objective, TrainConfig(compile=True))
    (block,) = objective.blocks()
    assert block._compiled_call_impl is not None
    assert list(objective.state_dict()) == keys


@pytest.mark.slow
def test_a_compiled_model_trains_alike(make_config: MakeConfig, tmp_path: Path) -> None:
    one = train(with_run(flow(make_config), tmp_path / "one"))
    two = train(with_run(flow(make_config, compile=True), tmp_path / "two"))
    for a, b in zip(curve(one), curve(two), strict=True):
        assert a == pytest.approx(b, rel=2e-3)


def test_a_model_without_blocks_says_so(make_config: MakeConfig) -> None:
    with pytest.raises(ConfigError, match=r"train\.recompute works on the blocks.*Duet has none"):
        train(make_config(train={"recompute": True}))


def test_auto_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    assert choose_precision("auto", torch.device("cpu")) == "fp32"
    for bf16, kind in ((True, "bf16"), (False, "fp16")):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda bf16=bf16, **_: bf16)
        assert choose_precision("auto", gpu) == kind


def test_fp16_scales_the_loss_and_skips_a_step_that_overflows() -> None:
    precision = Precision("fp16", torch.device("cpu"))
    layer = nn.Linear(1, 1, bias=False)
    nn.init.ones_(layer.weight)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)

    def step(factor: float) -> None:
        optimizer.zero_grad()
        with precision.autocast():
            out = layer(torch.ones(1, 1))
        assert out.dtype == torch.float16
        precision.backward(out.float().sum() * factor)
        precision.step(optimizer, layer.parameters(), clip_norm=0)

    scale = precision.scaler.get_scale()
    step(1e30)  # infinite once scaled: the step is left out and the scale halved
    assert layer.weight.item() == 1
    assert precision.scaler.get_scale() == scale / 2
    step(2.0**-17)  # lost in fp16 unless scaled
    assert layer.weight.item() == pytest.approx(1 - 2.0**-17, abs=1e-7)

    saved = {name: value.clone() for name, value in precision.tensors().items()}
    other = Precision("fp16", torch.device("cpu"))
    for name, value in other.tensors().items():
        value.copy_(saved[name])
    other.load()
    assert other.scaler.state_dict() == precision.scaler.state_dict()
