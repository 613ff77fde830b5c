"""From many rewards to one number: how much better a video is than others of its condition.

Legend: G videos of a group, B conditions.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vidgen.rl.rewards.base import Reward, build_reward, scored
from vidgen.types import Condition

_EVEN = 1e-3  # a spread of a reward within a group that is none
_MOST = 5.0  # standard deviations


class Scorer:
    """Scores videos by several rewards.

    Args:
        weights: by name of a reward.
        options: settings by name.
    """

    def __init__(self, weights: dict[str, float], options: dict[str, dict[str, Any]]) -> None:
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.rewards: dict[str, Reward] = {
            name: build_reward(name, options.get(name)) for name in self.weights
        }

    @property
    def differentiable(self) -> bool:
        return all(reward.differentiable for reward in self.rewards.values())

    def fit(self, real: Tensor) -> None:
        for reward in self.rewards.values():
            reward.fit(real)

    def __call__(self, video: Tensor, cond: Condition) -> dict[str, Tensor]:
        """(B,) scores by reward."""
        return {name: scored(each, name, video, cond) for name, each in self.rewards.items()}

    def advantages(self, scores: dict[str, Tensor], group: int) -> Tensor:
        """(B G,): each reward's distance from its group's mean in the group's standard deviations,
        so that none drowns the others (arXiv:2402.03300), weighted and summed.

        A group whose members are all alike gives zero: there is nothing to learn from it.
        """
        total = torch.zeros_like(next(iter(scores.values())))
        for name, score in scores.items():
            rows = score.reshape(-1, group)
            spread = rows.std(1, correction=0, keepdim=True)
            apart = (rows - rows.mean(1, keepdim=True)) / spread.clamp_min(_EVEN)
            apart = torch.where(spread > _EVEN, apart, 0.0)
            total = total + self.weights[name] * apart.reshape(-1)
        return (total / sum(map(abs, self.weights.values()))).clamp(-_MOST, _MOST)

    def weighted(self, scores: dict[str, Tensor]) -> Tensor:
        """(B,) weighted means of the scores."""
        total = sum(self.weights[name] * score for name, score in scores.items())
        assert isinstance(total, Tensor)
        return total / sum(map(abs, self.weights.values()))
