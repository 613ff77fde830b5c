"""Whether a step makes enough videos to learn from: said before time is spent on it.

Advice and no errors: where a reward is steep, few are enough.
"""

from __future__ import annotations

from vidgen.config.reward import RewardConfig
from vidgen.config.run import TrainConfig

_GROUP = 4  # of two or three, the best is as far above the mean whatever it is worth
_VIDEOS = 32  # a step; publications take some hundreds
_HELD_OUT = 16  # conditions that guards are looked at on


def doubts(reward: RewardConfig, train: TrainConfig, *, compares: bool) -> list[str]:
    """What is too small to learn from, each with the key to raise; empty when nothing is.

    Args:
        compares: see Learner.
    """
    found = []
    videos = train.batch_size * reward.group
    if compares and reward.group < _GROUP:
        found.append(
            f"reward.group {reward.group} is too small to say how much better a video is than the "
            f"others of its condition; set reward.group to {_GROUP} or more (8 is a good start)"
        )
    if compares and videos < _VIDEOS:
        found.append(
            f"a step compares only {videos} videos (train.batch_size {train.batch_size} x "
            f"reward.group {reward.group}), so chance decides where it goes; raise either until "
            f"there are {_VIDEOS} or more, and train.accumulate with train.batch_size if memory "
            "is short"
        )
    if train.validate_clips < _HELD_OUT:
        found.append(
            f"guards are looked at on only {train.validate_clips} held-out conditions, where a "
            "fall may be chance; set train.validate_clips to "
            f"{_HELD_OUT} or more"
        )
    return found
