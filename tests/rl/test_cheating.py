"""The stop rule of reward runs: what fell is named with both numbers, and what is kept is sound."""

from __future__ import annotations

from vidgen.config.reward import RewardConfig
from vidgen.config.run import EarlyStopConfig
from vidgen.engine.cheating import GuardedProgress


def line(step: int, reward: float, motion: float = 0.8, diversity: float = 0.2) -> dict[str, float]:
    return {
        "step": step, "val_loss": -reward, "val_reward": reward, "val_reward_start": 0.25,
        "val_guard_motion": motion, "val_guard_motion_start": 0.8,
        "val_diversity": diversity, "val_diversity_start": 0.2,
    }  # fmt: skip


def after(*lines: dict[str, float], **keys: float) -> GuardedProgress:
    reward = RewardConfig.model_validate(
        {"start": "unused", "rewards": {"caption": 1}, "guards": {"motion": 0.6}, **keys}
    )
    return GuardedProgress(EarlyStopConfig(), reward, lines)


def test_a_run_whose_guards_stand_goes_on() -> None:
    progress = after(line(10, 0.3), line(20, 0.5, motion=0.49, diversity=0.11))
    assert progress.ended() is None
    assert progress.ranking()[0] == 20


def test_a_fallen_guard_ends_it_with_the_weights_before() -> None:
    progress = after(line(10, 0.3), line(20, 0.4), line(30, 0.9, motion=0.4))
    assert progress.ended() == (
        "stopped for reward hacking at step 30: the reward went from 0.250 to 0.900, but motion, "
        "which it does not see, fell to 0.400 from the start's 0.800 (reward.guards.motion: 0.6); "
        "the weights of step 20 are kept"
    )
    assert progress.ranking()[0] == 20


def test_so_does_a_caption_that_always_looks_the_same() -> None:
    lines = line(10, 0.3), line(20, 0.9, diversity=0.09)
    text = after(*lines).ended()
    assert text is not None
    assert "but diversity, which it does not see, fell to 0.090 from the start's 0.200" in text
    assert "(reward.diversity: 0.5); the weights of step 10 are kept" in text
    assert after(*lines, diversity=0.4).ended() is None


def test_a_model_with_one_answer_has_no_diversity_to_lose() -> None:
    one = line(10, 0.9, diversity=0.0) | {"val_diversity_start": 0.0}
    assert after(one).ended() is None
