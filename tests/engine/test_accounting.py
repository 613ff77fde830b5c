"""Where the time of a step goes, and how much of the device's arithmetic it uses."""

from __future__ import annotations

import time

import pytest
import torch
from engine.conftest import MakeConfig
from engine.test_interrupt import flow
from torch.utils.flop_counter import FlopCounterMode

from vidgen.data.dataset import open_dataset
from vidgen.data.loader import batches
from vidgen.engine.flops import StepFlops, matmul_rate
from vidgen.engine.meter import Meter
from vidgen.engine.train import train
from vidgen.models.base import build_objective
from vidgen.storage.run_folder import RunFolder
from vidgen.types import Batch, Condition


def test_a_line_tells_where_the_time_of_a_step_went(make_config: MakeConfig) -> None:
    folder = RunFolder(train(flow(make_config, steps=12)))
    lines = [line for line in folder.metrics() if "loss" in line]
    for line in lines[1:]:
        parts = line["data_wait_s"] + line["forward_backward_s"] + line["optimizer_s"]
        assert 0 < parts <= line["step_s"] * 1.001
        assert 0 < line["optimizer_s"] < line["forward_backward_s"]
        assert line["frames_per_s"] == pytest.approx(4 * line["clips_per_s"])
        assert line["clips_per_s"] == pytest.approx(8 / line["step_s"], rel=0.2)
        assert 0 < line["mfu"] < 1
    assert [line["step"] for line in lines if "validate_s" in line] == [5, 9]
    assert [line["step"] for line in lines if "checkpoint_s" in line] == [5, 9]


def test_the_meter_tells_activities_from_steps() -> None:
    meter = Meter(torch.device("cpu"), flops_per_s=1e6)
    clips = Batch(video=torch.zeros(4, 3, 8, 2, 2), cond=Condition(), seed=torch.arange(4))
    for batch in meter.steps([clips] * 2):
        meter.count(batch, clips=8, flops=1000)
        with meter.span("forward_backward"):
            time.sleep(0.02)
    with meter.spend("validate"):
        time.sleep(0.1)
    line = meter.read()
    assert line["forward_backward_s"] == pytest.approx(0.02, rel=0.5)
    assert line["validate_s"] == pytest.approx(0.1, rel=0.5)
    assert line["step_s"] < 0.08
    assert line["frames_per_s"] == pytest.approx(8 * line["clips_per_s"])
    assert line["mfu"] == pytest.approx(1000 / line["step_s"] / 1e6)


def test_flops_are_those_of_the_real_step(make_config: MakeConfig) -> None:
    config = RunFolder(train(flow(make_config, steps=1))).config()
    with batches(open_dataset(str(config.data.url)), config) as stream:
        batch = next(stream)
    objective = build_objective(config).train()
    with FlopCounterMode(display=False) as counter:
        objective.loss("model", batch[:1], 0).total.backward()  # type: ignore[no-untyped-call]
    counted = StepFlops(config, torch.device("cpu"))
    assert counted.of(batch[:1]) == counter.get_total_flops() > 0
    assert counted.of(batch) == 8 * counter.get_total_flops()
    assert counted.unknown is None


def test_without_room_for_the_count_training_goes_on(
    make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: StepFlops, clip: Batch) -> float:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(StepFlops, "_count", full)
    folder = RunFolder(train(make_config()))
    lines = [line for line in folder.metrics() if "loss" in line]
    assert len(lines) == 8
    assert all("mfu" not in line and "frames_per_s" in line for line in lines)


def test_the_rate_of_this_machine_is_plausible() -> None:
    rate = matmul_rate(torch.device("cpu"), "fp32")
    assert 1e8 < rate < 1e14
