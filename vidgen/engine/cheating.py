"""Reward hacking: what is rewarded rises while something held out against it falls.

As early stopping, a pure function of the scores in metrics.jsonl.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vidgen.config.reward import RewardConfig
from vidgen.config.run import EarlyStopConfig, RunConfig
from vidgen.engine.early_stop import Progress


class GuardedProgress(Progress):
    """Ends a run, besides, as soon as a guard, or diversity, falls below its share of what the
    start has."""

    def __init__(
        self, config: EarlyStopConfig, reward: RewardConfig, lines: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self._floors = {f"guard_{name}": (name, floor) for name, floor in reward.guards.items()}
        self._floors["diversity"] = ("diversity", reward.diversity)
        self._fallen: dict[int, str] = {}
        super().__init__(config, lines)

    def see(self, step: int, scores: Mapping[str, float]) -> bool:
        before, reward = scores["val_reward_start"], scores["val_reward"]
        for part, (name, floor) in self._floors.items():
            now, first = scores[f"val_{part}"], scores[f"val_{part}_start"]
            if now < floor * first:
                key = "diversity" if part == "diversity" else f"guards.{name}"
                self._fallen[step] = (
                    f"stopped for reward hacking at step {step}: the reward went from "
                    f"{before:.3f} to {reward:.3f}, but {name}, which it does not see, fell "
                    f"to {now:.3f} from the start's {first:.3f} (reward.{key}: {floor:g})"
                )
                break
        return super().see(step, scores)

    def ended(self) -> str | None:
        if not self._fallen:
            return super().ended()
        text = next(iter(self._fallen.values()))
        sound = [step for step in super().ranking() if step not in self._fallen]
        if sound:
            return f"{text}; the weights of step {sound[0]} are kept"
        return f"{text}; no validation came before it, so the weights kept are hacked ones too"

    def ranking(self) -> list[int]:
        """Steps whose guards stand come first."""
        return sorted(super().ranking(), key=lambda step: step in self._fallen)


def progress_of(config: RunConfig, lines: Iterable[Mapping[str, Any]] = ()) -> Progress:
    """The rules by which a run may end early, and its validations so far."""
    if config.reward is None:
        return Progress(config.early_stop, lines)
    return GuardedProgress(config.early_stop, config.reward, lines)
