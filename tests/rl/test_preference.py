"""The reward that learns what people like: from a study whose raters have a planted taste."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from study.planted_study import answers, attentive, careless, clip, collect, folder_of
from torch import Tensor

from vidgen.errors import ConfigError, EvaluationError
from vidgen.rl.rewards.base import build_reward, scored
from vidgen.rl.rewards.preference import Preference
from vidgen.study.create import Plan, create
from vidgen.study.model import Key, read_key
from vidgen.types import Condition


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Key]:
    """6 clips that move smoothly, 6 that jump, and every pair of them."""
    root = tmp_path_factory.mktemp("preference")
    folders = [folder_of(root, name, jumps=name == "bad", count=6) for name in ("good", "bad")]
    create([str(folder) for folder in folders], str(root / "study"), plan=Plan(pairs=6))
    return root / "study", read_key(root / "study" / "key.json")


def videos(*, jumps: bool) -> Tensor:
    """Clips that were in no study, (3, 3, 12, 48, 48)."""
    made = np.stack([clip(number, jumps=jumps)[:, ::2, ::2] for number in (1, 3, 5)])
    made = np.clip(made.astype(np.int16) + 9, 0, 255)
    return torch.from_numpy(made).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


def test_what_raters_liked_scores_higher(study: tuple[Path, Key]) -> None:
    folder, key = study
    (folder / "answers").mkdir(exist_ok=True)
    liked = [answers(key, f"r{n}", attentive("good"), seed=n) for n in range(3)]
    collect(folder / "answers", *liked)
    reward = build_reward("preference", {"study": str(folder)})
    assert isinstance(reward, Preference)
    reward.fit(videos(jumps=False))
    good = scored(reward, "preference", videos(jumps=False), Condition())
    bad = scored(reward, "preference", videos(jumps=True), Condition())
    assert float(good.min()) > float(bad.max())
    assert bool(((good >= 0) & (good <= 1) & (bad >= 0) & (bad <= 1)).all())
    assert reward.foretold > 0.8
    again = build_reward("preference", {"study": str(folder), "question": "smoothness"})
    again.fit(videos(jumps=False))
    assert torch.equal(scored(again, "preference", videos(jumps=True), Condition()), bad)


def test_the_opposite_taste_gives_the_opposite(study: tuple[Path, Key], tmp_path: Path) -> None:
    folder, key = study
    (file,) = collect(tmp_path, answers(key, "odd", attentive("bad")))
    reward = build_reward("preference", {"study": str(folder), "answers": str(file)})
    reward.fit(videos(jumps=False))
    good, bad = (reward(videos(jumps=jumps), Condition()) for jumps in (False, True))
    assert float(good.max()) < float(bad.min())


def test_votes_that_say_nothing_are_told(
    study: tuple[Path, Key], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, key = study
    fair = answers(key, "fair", attentive("good"))
    dice = np.random.default_rng(0)
    checks = {trial.id for trial in key.trials if trial.check}
    for answer in fair["answers"]:
        if answer["trial"] not in checks and "left" in answer:
            side = str(dice.choice(["left", "right"]))
            answer["choices"] = dict.fromkeys(answer["choices"], side)
    (file,) = collect(tmp_path, fair)
    reward = build_reward("preference", {"study": str(folder), "answers": [str(file)]})
    with caplog.at_level(logging.INFO):
        reward.fit(videos(jumps=False))
    assert isinstance(reward, Preference)
    assert reward.foretold < 0.8
    assert "votes held out from it" in caplog.text


def test_what_cannot_be_learned_from_is_refused(study: tuple[Path, Key], tmp_path: Path) -> None:
    folder, key = study
    with pytest.raises(ConfigError, match=r"reward.options.preference: .*study"):
        build_reward("preference")
    with pytest.raises(ConfigError, match="no question 'beauty'"):
        build_reward("preference", {"study": str(folder), "question": "beauty"})
    (none,) = collect(tmp_path, answers(key, "careless", careless, seed=1))
    with pytest.raises(EvaluationError, match="none of the 1 raters is left"):
        build_reward("preference", {"study": str(folder), "answers": str(none)})
    (short,) = collect(tmp_path, answers(key, "short", attentive("good"), stop=3))
    with pytest.raises(EvaluationError, match=r"too few votes|none of the 1 raters"):
        build_reward("preference", {"study": str(folder), "answers": str(short)})
    with pytest.raises(EvaluationError, match="no such file"):
        build_reward("preference", {"study": str(tmp_path / "nowhere")})
