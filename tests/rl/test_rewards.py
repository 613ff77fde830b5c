"""Every reward prefers what it is named for, and a scorer that fails is told by name."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from vidgen.config.reward import REWARDS, RewardConfig
from vidgen.data.shapes import all_scenes
from vidgen.data.synthetic import paint
from vidgen.errors import ConfigError, TrainingError
from vidgen.rl.rewards.base import build_reward, scored
from vidgen.rl.score import Scorer
from vidgen.types import Condition, encode_text


@pytest.fixture(scope="module")
def real() -> Tensor:
    """8 clips of moving shapes, (8, 3, 16, 32, 32)."""
    clips = [
        torch.from_numpy(
            paint(scene, rng=np.random.default_rng(seed), frames=16, height=32, width=32)
        )
        for seed, scene in enumerate(all_scenes()[::29][:8])
    ]
    return torch.stack(clips).permute(0, 4, 1, 2, 3).float() / 127.5 - 1


@pytest.fixture(scope="module")
def captions() -> Condition:
    return Condition(text=encode_text([scene.caption for scene in all_scenes()[::29][:8]]))


def frozen(video: Tensor) -> Tensor:
    return video[:, :, :1].expand_as(video)


def blurred(video: Tensor) -> Tensor:
    flat = video.flatten(0, 1)
    return torch.nn.functional.avg_pool3d(
        flat, (1, 5, 5), 1, (0, 2, 2), count_include_pad=False
    ).reshape(video.shape)


def noisy(video: Tensor) -> Tensor:
    stream = torch.Generator().manual_seed(0)
    return (video + 0.5 * torch.randn(video.shape, generator=stream)).clamp(-1, 1)


def shuffled(video: Tensor) -> Tensor:
    order = torch.randperm(video.shape[2], generator=torch.Generator().manual_seed(1))
    return video[:, :, order]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("motion", frozen),
        ("motion", noisy),
        ("sharpness", blurred),
        ("sharpness", noisy),
        ("contrast", lambda video: video * 0.2),
        ("contrast", torch.ones_like),
        ("smoothness", noisy),
        ("smoothness", shuffled),
        ("coherence", noisy),
        ("realism", noisy),
        ("realism", frozen),
    ],
)
def test_damage_costs_reward(name: str, damage, real: Tensor) -> None:  # type: ignore[no-untyped-def]
    reward = build_reward(name)
    reward.fit(real[::2])
    good = scored(reward, name, real[1::2], Condition())
    bad = scored(reward, name, damage(real[1::2]), Condition())
    assert bool(((good >= 0) & (good <= 1) & (bad >= 0) & (bad <= 1)).all())
    assert float(bad.mean()) < 0.75 * float(good.mean())


@pytest.mark.parametrize(
    ("name", "damage"), [("motion", frozen), ("sharpness", blurred), ("contrast", torch.ones_like)]
)
def test_a_future_is_held_against_its_own_past(name: str, damage, real: Tensor) -> None:  # type: ignore[no-untyped-def]
    past, future = real[:, :, :8], real[:, :, 8:]
    reward = build_reward(name)
    reward.fit(noisy(real))  # what other clips have does not matter then
    given = Condition(past=past)
    assert float(scored(reward, name, future, given).min()) > 0.7
    assert float(scored(reward, name, future, given).mean()) > 0.95
    assert float(scored(reward, name, damage(future), given).mean()) < 0.8
    # Unless the band is asked for, or the past is too short to have any of it.
    fixed = build_reward(name, {"low": 0.0, "high": 9.0})
    fixed.fit(real)
    assert float(scored(fixed, name, damage(future), given).min()) > 0.9
    if name == "motion":
        reward.fit(real)
        one = Condition(past=past[:, :, :1])
        assert bool(torch.equal(reward(future, one), reward(future, Condition())))


def test_a_frozen_video_is_coherent_and_smooth_so_motion_must_guard(real: Tensor) -> None:
    for name in ("coherence", "smoothness"):
        reward = build_reward(name)
        reward.fit(real)
        assert float(scored(reward, name, frozen(real), Condition()).mean()) > 0.95


def test_captions_are_judged(real: Tensor, captions: Condition) -> None:
    reward = build_reward("caption")
    right = scored(reward, "caption", real, captions)
    assert captions.text is not None
    other = Condition(text=captions.text.roll(1, 0))
    assert float(right.mean()) > 0.9
    assert float(scored(reward, "caption", real, other).mean()) < 0.7
    colour = build_reward("caption", {"attributes": ["colour"]})
    assert set(scored(colour, "caption", real, captions).tolist()) <= {0.0, 1.0}
    strange = Condition(text=encode_text(["a cat"]))
    with pytest.raises(TrainingError, match=r"cannot judge 'a cat'.*module:function"):
        scored(reward, "caption", real[:1], strange)


def test_every_row_is_a_reward(real: Tensor) -> None:
    for name in set(REWARDS) - {"caption", "preference"}:  # these need more than clips
        reward = build_reward(name)
        reward.fit(real)
        assert reward.reads
        if reward.differentiable:
            video = real[:2].clone().requires_grad_()
            reward(video, Condition()).sum().backward()
            assert video.grad is not None
            assert bool(torch.isfinite(video.grad).all())


# -- scorers of one's own ------------------------------------------------------------------------


def brightness(video: Tensor, cond: Condition) -> Tensor:
    return video.flatten(1).mean(1)


def not_a_number(video: Tensor, cond: Condition) -> Tensor:
    return video.flatten(1).mean(1) * float("nan")


def of_another_shape(video: Tensor, cond: Condition) -> Tensor:
    return video.flatten(2).mean(2)


def failing(video: Tensor, cond: Condition) -> Tensor:
    raise ZeroDivisionError("no scale")


HERE = "rl.test_rewards"


def test_a_scorer_of_ones_own(real: Tensor) -> None:
    reward = build_reward(f"{HERE}:brightness")
    assert scored(reward, "mine", real, Condition()).allclose(real.flatten(1).mean(1))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("not_a_number", "not finite"),
        ("of_another_shape", r"returned \(8, 3\); expected a tensor of shape \(8,\)"),
        ("failing", "failed: ZeroDivisionError: no scale"),
    ],
)
def test_a_scorer_that_fails_is_named(name: str, text: str, real: Tensor) -> None:
    reward = build_reward(f"{HERE}:{name}")
    with pytest.raises(TrainingError, match=rf"(?s)reward 'mine'.*{text}"):
        scored(reward, "mine", real, Condition())


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="cannot be imported"):
        build_reward(f"{HERE}:nothing")
    with pytest.raises(ConfigError, match=r"reward.options.motion: .*'height'"):
        build_reward("motion", {"height": 3})
    with pytest.raises(ConfigError, match="no attribute 'size'"):
        build_reward("caption", {"attributes": ["size"]})
    for keys, text in (
        ({"rewards": {"captoin": 1}}, "did you mean 'caption'"),
        ({"rewards": {"motion": 0}}, "at least one a weight"),
        ({"rewards": {"motion": 1}, "options": {"caption": {}}}, "neither a reward nor a guard"),
        ({"rewards": {"motion": 1}, "guards": {"sharp": 0.5}}, "did you mean 'sharpness'"),
    ):
        with pytest.raises(ValueError, match=text):
            RewardConfig.model_validate({"start": "runs/a", **keys})


# -- groups --------------------------------------------------------------------------------------


def test_advantages_compare_within_a_group() -> None:
    scorer = Scorer({f"{HERE}:brightness": 2.0}, {})
    name = f"{HERE}:brightness"
    scores = torch.tensor([0.1, 0.3, 5.0, 9.0, 1.0, 1.0])
    found = scorer.advantages({name: scores}, 2)
    assert found.tolist() == pytest.approx([-1, 1, -1, 1, 0, 0])


def test_no_reward_drowns_another() -> None:
    big, small = f"{HERE}:brightness", f"{HERE}:failing"
    scorer = Scorer({big: 1.0, small: 1.0}, {})
    scores = {big: torch.tensor([100.0, 200.0]), small: torch.tensor([0.02, 0.01])}
    assert scorer.advantages(scores, 2).tolist() == pytest.approx([0, 0])
