"""bench: what it times, what it says, and that it leaves the warm-up out."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from engine.conftest import MakeConfig

from vidgen.config.run import RunConfig
from vidgen.engine import bench as module
from vidgen.engine.bench import WARM_UP, Bench, Timing, bench, blank_condition
from vidgen.engine.train import train
from vidgen.errors import ConfigError
from vidgen.models.base import build_objective


@pytest.fixture
def run(make_config: MakeConfig) -> str:
    config = make_config(train={"steps": 2, "checkpoint_every": 2})
    train(config)
    assert config.run
    return config.run


def test_every_setting_is_timed(run: str) -> None:
    found = bench(run, batches=[4, 1, 4], calls=5)
    assert [t.batch for t in found.timings] == [1, 4]
    for t in found.timings:
        assert t.calls == 5
        assert 0 < t.p50_s <= t.p95_s
        assert t.per_video_s == pytest.approx(t.p50_s / t.batch)
        assert t.per_frame_s == pytest.approx(t.per_video_s / 4)
        assert t.frames_per_s == pytest.approx(1 / t.per_frame_s)
        assert t.real_time == pytest.approx(t.frames_per_s / found.fps)
        assert 1e7 < t.peak_bytes < 1e11
    assert found.step == 2
    stored = json.loads((Path(run) / "bench.json").read_text())
    assert stored == json.loads(json.dumps(found.to_json()))
    assert stored["verdict"].startswith("real time: 0.50 s of video at 8 frames/s takes")


def test_the_first_calls_do_not_count(run: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that is slow until it is warm."""
    calls = 0
    honest = module.to_frames

    def slow_at_first(videos: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        time.sleep(0.2 if calls <= WARM_UP else 0.0)
        return honest(videos)

    monkeypatch.setattr(module, "to_frames", slow_at_first)
    (timing,) = bench(run, batches=[1], calls=3).timings
    assert calls == WARM_UP + 3
    assert timing.first_call_s > 0.2
    assert timing.p95_s < 0.2


def test_steps_of_a_model_without_any(run: str) -> None:
    with pytest.raises(ConfigError, match="family duet makes a video without steps"):
        bench(run, steps=[4])


def test_verdict_speaks_of_one_viewer() -> None:
    def timing(batch: int, p50: float) -> Timing:
        rate = batch * 16 / p50
        return Timing(
            batch=batch, steps=None, calls=3, first_call_s=9, p50_s=p50, p95_s=p50, mean_s=p50,
            first_frame_s=p50, per_video_s=p50 / batch, per_frame_s=p50 / batch / 16,
            frames_per_s=rate, real_time=rate / 8, peak_bytes=1,
        )  # fmt: skip

    found = Bench(
        run="r", step=1, device="d", threads=1, torch="2", parameters=1, frames=16, height=8,
        width=8, fps=8, guidance=1, timings=[timing(8, 8.0), timing(1, 4.0)],
    )  # fmt: skip
    assert found.verdict == (
        "slower than real time: 2.00 s of video at 8 frames/s takes 4.00 s, "
        "0.50 times real time (batch 1)"
    )


CONDITIONS = [["text", "image"], ["label"], ["sketch"], ["past"], []]


@pytest.mark.parametrize("conditions", CONDITIONS, ids=lambda c: "+".join(c) or "none")
def test_blank_conditions_fit_the_model(conditions: list[str]) -> None:
    config = RunConfig.model_validate(
        {
            "name": "x",
            "data": {
                "synthetic": {}, "frames": 4, "height": 16, "width": 16, "labels": ["a", "b"]
            },
            "model": {
                "family": "flow", "width": 24, "heads": 2, "depth": 1, "sample_steps": 1,
                "conditions": conditions, "past_frames": 2 if "past" in conditions else 0,
            },
        }
    )  # fmt: skip
    model = build_objective(config).model.eval()
    cond = blank_condition(model, config, 2)
    assert {name for name, _ in cond.items()} == set(conditions)
    assert model.sample(cond, 2, guidance=2.0).shape == (2, 3, 4, 16, 16)
    with module._sampling_steps(model, 7):
        assert model.config.sample_steps == 7
    assert model.config.sample_steps == 1
