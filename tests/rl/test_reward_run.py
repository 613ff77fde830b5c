"""Reward fine-tuning as a run: stopped when it cheats, exact after a break and on any ranks."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import torch
from engine.conftest import clips as clips
from engine.conftest import config_on
from engine.ranks import on_ranks
from engine.test_interrupt import FLOW
from engine.test_train import weights
from torch import Generator, Tensor

from vidgen.config.run import RunConfig
from vidgen.data.ensure import ensure_dataset
from vidgen.data.loader import eval_batches
from vidgen.engine.evaluate import evaluate
from vidgen.engine.load import load_model
from vidgen.engine.measures import Setting
from vidgen.engine.report import _warnings, write_report
from vidgen.engine.reward_measure import Rewarded
from vidgen.engine.start import check_start
from vidgen.engine.train import train
from vidgen.errors import ConfigError, TrainingError
from vidgen.storage.run_folder import RunFolder
from vidgen.types import Condition

MODEL = {**FLOW, "conditions": ["text"], "sample_steps": 4}


def stillness(video: Tensor, cond: Condition) -> Tensor:
    """What a frozen video maximises."""
    return -video.diff(dim=2).abs().flatten(1).mean(1)


def broken(video: Tensor, cond: Condition) -> Tensor:
    return torch.full((len(video),), float("nan"))


def make(clips: Path, folder: Path, name: str, **keys: Any) -> RunConfig:
    base = config_on(clips, folder, run=str(folder / name), **keys).model_dump(mode="json")
    return RunConfig.model_validate({**base, "model": MODEL})


@pytest.fixture(scope="module")
def start(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("start")
    return train(make(clips, folder, "start", train={"steps": 60, "sample_every": 0}))


def rewarded(clips: Path, folder: Path, name: str, start: str, **reward: Any) -> RunConfig:
    keys = {"start": start, "rewards": {"rl.test_reward_run:stillness": 1}, "group": 4, **reward}
    return make(
        clips, folder, name, reward=keys, schedule={"kind": "constant", "warmup_steps": 2},
        train={"steps": 6, "batch_size": 4, "validate_every": 3, "checkpoint_every": 3,
               "sample_every": 0, "validate_clips": 4},
    )  # fmt: skip


def test_cheating_stops_the_run(clips: Path, tmp_path: Path, start: str, capsys: Any) -> None:
    keys = {
        "learner": "nft", "kl": 0.0, "guards": {"motion": 0.9}, "behaviour_decay": 0.5,
        # These clips hardly move: any less motion than the start's counts.
        "options": {"motion": {"low": 0.1, "high": 1.0}},
    }  # fmt: skip
    config = rewarded(clips, tmp_path, "run", start, **keys)
    config = config.model_copy(
        update={"train": config.train.model_copy(update={"steps": 200, "validate_every": 10})}
    )
    train(config)
    said = capsys.readouterr()
    text = said.out + said.err
    assert "stopped for reward hacking at step" in text
    assert "motion, which it does not see, fell to" in text
    assert "warning: a step compares only 16 videos (train.batch_size 4 x reward.group 4)" in text
    assert "warning: guards are looked at on only 4 held-out conditions" in text
    lines = list(RunFolder(str(config.run)).metrics())
    assert max(line["step"] for line in lines) < 200
    starts = {line["val_reward_start"] for line in lines if "val_reward_start" in line}
    assert len(starts) == 1  # the same clips, the same noise, the same start
    assert lines[-1]["val_reward"] > starts.pop()


def test_a_break_changes_nothing(clips: Path, tmp_path: Path, start: str) -> None:
    whole = train(rewarded(clips, tmp_path, "whole", start, learner="nft"))
    config = rewarded(clips, tmp_path, "parts", start, learner="nft")
    train(config.model_copy(update={"train": config.train.model_copy(update={"steps": 3})}))
    parts = train(config)
    for name, value in weights(whole).items():
        assert value.equal(weights(parts)[name]), name
    page = Path(write_report(str(config.run))).read_text()
    for text in (
        ">Reward<", ">Guards, on held-out conditions<", ">Distance from the start<",
        "motion of the start", "diversity of the start", ">the start, held out ",
        ">Before and after<", "before: the start", "after: step 6", " before, ", "dark 16",
    ):  # fmt: skip
        assert text in page
    gallery = page.partition('id="before-after"')[2].partition("</section>")[0]
    first, last = (
        base64.b64encode(RunFolder(str(config.run)).store.read(f"samples/step_0000000{step}.mp4"))
        for step in (0, 6)
    )
    assert first != last
    assert gallery.count("<video") == 2
    assert gallery.index(first.decode()) < gallery.index(last.decode())
    assert "_error" not in page.partition("Distance from the start")[0].rpartition("Reward")[2]


def test_an_evaluation_tells_the_reward(clips: Path, tmp_path: Path, start: str) -> None:
    run = train(rewarded(clips, tmp_path, "scored", start, learner="nft", kl=0.0))
    evaluation = evaluate(run, clips=8, extractors=["st-stats"])
    found = {score.subject.kind: score for score in evaluation.scores if score.name == "reward"}
    assert set(found) == {"generated", "the start", "ground truth"}
    assert found["generated"].value != found["the start"].value
    assert found["generated"].protocol.extractor == "rl.test_reward_run:stillness x 1"
    # What starts from itself gets as much as itself; what starts from nothing says so.
    config, subject = rewarded(clips, tmp_path, "again", run), found["generated"].subject
    held_out = next(iter(eval_batches(
        ensure_dataset(config), config, split="test", limit=4, batch_size=4, conditions=["text"],
    )))  # fmt: skip
    model, _ = load_model(run)
    assert config.reward is not None
    assert subject.guidance is not None
    made = model.beside(
        held_out.batch, guidance=subject.guidance, generator=Generator().manual_seed(0)
    )
    for reward, kinds in (
        (config.reward, 3), (config.reward.model_copy(update={"start": "nowhere"}), 2)
    ):  # fmt: skip
        measure = Rewarded(reward, held_out.batch.video, subject, None)
        measure.update(held_out, made)
        values = {score.subject.kind: score.value for score in measure.scores(
            Setting(protocol=found["generated"].protocol, subject=subject)
        )}  # fmt: skip
        assert len(values) == kinds
        assert values.get("the start", values["generated"]) == values["generated"]
        assert [("nowhere" in note) for note in measure.notes()] == [True] * (3 - kinds)


def on_two(config: RunConfig) -> str:
    return train(config)


def test_two_ranks_learn_what_one_does(clips: Path, tmp_path: Path, start: str) -> None:
    alone = train(rewarded(clips, tmp_path, "alone", start, learner="nft"))
    on_ranks(2, on_two, rewarded(clips, tmp_path, "two", start, learner="nft"))
    for name, value in weights(alone).items():
        assert torch.allclose(value, weights(str(tmp_path / "two"))[name], atol=2e-4), name


def test_bad_input(clips: Path, tmp_path: Path, start: str) -> None:
    nan = rewarded(
        clips, tmp_path, "nan", start, rewards={"rl.test_reward_run:broken": 1}, guards={}
    )
    with pytest.raises(TrainingError, match=r"reward 'rl.test_reward_run:broken' .* not finite"):
        train(nan)
    other = rewarded(clips, tmp_path, "other", start)
    fewer = other.model.model_copy(update={"sample_steps": 2})
    data = other.data.model_copy(update={"labels": ("dark", "light")})
    check_start(other.model_copy(update={"model": fewer, "data": data}))  # the same weights suit it
    wide = other.model.model_copy(update={"width": 48})
    with pytest.raises(
        ConfigError, match=r"reward.start .* has model.width=24, and this config 48"
    ):
        train(other.model_copy(update={"model": wide}))
    with pytest.raises(ConfigError, match=r"reward.group 1: learner nft compares .* 8 is a good"):
        train(rewarded(clips, tmp_path, "one", start, group=1))
    with pytest.raises(ConfigError, match="backprop does not work here"):
        train(rewarded(clips, tmp_path, "policy", start, learner="backprop"))


def test_a_reward_is_no_loss_that_could_tell_of_clips_learned_by_heart() -> None:
    assert _warnings([{"step": 3, "val_loss": -0.5}, {"step": 6, "val_loss": -0.9}]) == []
    assert _warnings([{"step": 3, "val_loss": -0.9}, {"step": 6, "val_loss": -0.5}]) == []
    (said,) = _warnings([{"step": 3, "val_loss": 0.5}, {"step": 6, "val_loss": 0.9}])
    assert "lowest at step 3 (0.5) and is 0.9 now" in said
