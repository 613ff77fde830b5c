"""The small parts of the engine, one by one."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from torch import nn

from vidgen.config.run import OptimizerConfig, ScheduleConfig
from vidgen.engine.distributed import Ranks
from vidgen.engine.ema import Ema
from vidgen.engine.meter import Watch
from vidgen.engine.optim import build_optimizer, check_groups, set_lr
from vidgen.engine.samples import grid
from vidgen.engine.schedule import lr_ratio
from vidgen.errors import ConfigError, TrainingError
from vidgen.observe.recorder import Recorder
from vidgen.storage.run_folder import RunFolder


def ratios(steps: int = 100, **keys: object) -> list[float]:
    schedule = ScheduleConfig.model_validate({"warmup_steps": 10, "final_ratio": 0.1, **keys})
    return [lr_ratio(schedule, step, steps) for step in range(steps)]


@pytest.mark.parametrize("kind", ["constant", "cosine", "linear", "wsd"])
def test_schedules_warm_up_and_end_where_they_should(kind: str) -> None:
    values = ratios(kind=kind)
    assert values[:10] == pytest.approx([(n + 1) / 10 for n in range(10)])
    assert all(a >= b for a, b in pairwise(values[9:]))
    assert values[-1] == pytest.approx(1.0 if kind == "constant" else 0.1)


def test_wsd_is_stable_until_its_decay() -> None:
    values = ratios(kind="wsd", decay_ratio=0.2)
    assert values[10:80] == [1.0] * 70
    assert values[80] < 1


def test_cosine_is_half_way_down_in_the_middle() -> None:
    assert ratios(kind="cosine", warmup_steps=0)[49] == pytest.approx(0.55)


def test_weight_decay_spares_norms_biases_and_embeddings() -> None:
    network = nn.Sequential(nn.Embedding(4, 4), nn.Linear(4, 4), nn.LayerNorm(4))
    network[1].weight.requires_grad_(True)
    optimizer = build_optimizer(OptimizerConfig(weight_decay=0.5), network)
    decayed = [w for g in optimizer.param_groups if g["weight_decay"] for w in g["params"]]
    assert [id(w) for w in decayed] == [id(network[1].weight)]


@pytest.mark.parametrize("name", ["adamw", "adam", "sgd", "rmsprop"])
def test_groups_move_at_their_own_rate(name: str) -> None:
    network = nn.ModuleDict({"text": nn.Linear(4, 4), "body": nn.Linear(4, 4)})
    config = OptimizerConfig.model_validate(
        {
            "name": name, "lr": 0.1, "weight_decay": 0.5,
            "groups": [
                {"match": "model.text.*", "lr": 0.2, "weight_decay": 0.1},
                {"match": "*.bias", "lr": 0},
            ],
        }
    )  # fmt: skip
    optimizer = build_optimizer(config, network)
    before = {key: weight.clone() for key, weight in network.named_parameters()}
    for weight in network.parameters():
        weight.grad = torch.ones_like(weight)
    set_lr(optimizer, 0.01)
    found = {
        key: (group["lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for weight in group["params"]
        for key, own in network.named_parameters()
        if own is weight
    }
    assert {key: each[0] for key, each in found.items()} == pytest.approx(
        {"text.weight": 0.002, "text.bias": 0.002, "body.weight": 0.01, "body.bias": 0}
    )
    assert {key: each[1] for key, each in found.items()} == {
        "text.weight": 0.1, "text.bias": 0, "body.weight": 0.5, "body.bias": 0,
    }  # fmt: skip
    optimizer.step()
    moved = {key: not torch.equal(w, before[key]) for key, w in network.named_parameters()}
    assert moved == {
        "text.weight": True,
        "text.bias": True,
        "body.weight": True,
        "body.bias": False,
    }
    check_groups(config, nn.ModuleDict({"model": network}))
    wrong = OptimizerConfig.model_validate({"groups": [{"match": "model.test.*"}]})
    with pytest.raises(ConfigError, match=r"no weight is called 'model.test.\*'.*model.text"):
        check_groups(wrong, nn.ModuleDict({"model": network}))


def test_frozen_weights_are_not_optimized_and_not_averaged() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    network[0].requires_grad_(False)
    optimizer = build_optimizer(OptimizerConfig(), network)
    assert sum(len(g["params"]) for g in optimizer.param_groups) == 2
    assert set(Ema(network, 0.9).averaged) == {"1.weight", "1.bias"}


def test_ema_warms_up_then_follows_slowly_and_swaps_back_exactly() -> None:
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    ema = Ema(network, 0.5)
    nn.init.ones_(network.weight)
    ema.update(0)  # decay 1/10
    assert ema.averaged["weight"].item() == pytest.approx(0.9)
    ema.update(1000)  # decay 0.5
    assert ema.averaged["weight"].item() == pytest.approx(0.95)
    with ema.applied():
        assert network.weight.item() == pytest.approx(0.95)
    assert network.weight.item() == 1
    assert ema.averaged["weight"].item() == pytest.approx(0.95)


def test_watch_names_the_first_bad_step() -> None:
    watch = Watch(Ranks())
    for step, value in enumerate([1.0, float("inf"), float("nan"), 1.0], start=1):
        watch.see(torch.tensor(value), step)
    with pytest.raises(TrainingError, match="step 2"):
        watch.check()


def test_grid_places_videos_row_by_row() -> None:
    videos = torch.linspace(-1, 1, 3).view(3, 1, 1, 1, 1).expand(3, 3, 2, 64, 64)
    sheet = grid(videos)  # 2 columns, 2 rows, doubled to 128 pixels
    assert sheet.shape == (2, 258, 258, 3)
    assert sheet[0, 0, 0].tolist() == [0, 0, 0]
    assert sheet[0, 0, 257].tolist() == [128, 128, 128]
    assert sheet[0, 257, 0].tolist() == [255, 255, 255]


def test_recorder_drops_what_is_about_to_be_done_again(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    with Recorder(folder, step=0, show=lambda line: None) as recorder:
        for step in range(1, 6):
            recorder.write(step, {"loss": step / 2, "grad_norm": float("inf")})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 6, "lo')  # cut short by a crash
    seen: list[int] = []
    with Recorder(folder, step=3, show=lambda line: seen.append(line["step"])) as recorder:
        recorder.write(4, {"loss": 9.0})
    assert [(m["step"], m["loss"]) for m in folder.metrics()] == [
        (1, 0.5), (2, 1.0), (3, 1.5), (4, 9.0),
    ]  # fmt: skip
    assert seen == [4]
