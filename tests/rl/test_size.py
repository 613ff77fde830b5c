"""What is too small to learn from is said, with the key to raise; what is not is left in peace."""

from __future__ import annotations

import pytest

from vidgen.config.reward import RewardConfig
from vidgen.config.run import TrainConfig
from vidgen.rl.size import doubts


def of(*, group: int = 8, batch: int = 8, held_out: int = 32, compares: bool = True) -> list[str]:
    reward = RewardConfig(start="unused", rewards={"caption": 1.0}, group=group)
    train = TrainConfig(batch_size=batch, validate_clips=held_out)
    return doubts(reward, train, compares=compares)


def test_what_is_large_enough_is_left_in_peace() -> None:
    assert of() == []
    assert of(group=4, batch=8, held_out=16) == []


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"group": 3, "batch": 16}, ["reward.group 3 ", "set reward.group to 4 or more"]),
        (
            {"group": 6, "batch": 5},
            ["only 30 videos (train.batch_size 5 x reward.group 6)", "32 or more"],
        ),
        ({"held_out": 15}, ["only 15 held-out conditions", "set train.validate_clips to 16"]),
    ],
    ids=["group", "videos", "held out"],
)
def test_each_doubt_names_the_number_and_the_key(sizes: dict[str, int], said: list[str]) -> None:
    (text,) = of(**sizes)
    for part in said:
        assert part in text


def test_a_learner_that_compares_nothing_needs_no_group() -> None:
    assert of(group=1, batch=4, compares=False) == []
    assert len(of(group=2, batch=4, held_out=2)) == 3
