"""RewardConfig: what a trained model is rewarded for, how it learns from that, and when to stop."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from vidgen.config.base import PositiveInt, Ratio, Share, Strict
from vidgen.errors import did_you_mean

LearnerName = Literal["auto", "nft", "policy", "backprop", "regression"]

# name -> module that has `build(options) -> Reward`; imported only when used.
REWARDS: dict[str, str] = {
    "caption": "vidgen.rl.rewards.caption",
    "coherence": "vidgen.rl.rewards.coherence",
    "contrast": "vidgen.rl.rewards.contrast",
    "motion": "vidgen.rl.rewards.motion",
    "preference": "vidgen.rl.rewards.preference",
    "realism": "vidgen.rl.rewards.realism",
    "sharpness": "vidgen.rl.rewards.sharpness",
    "smoothness": "vidgen.rl.rewards.smoothness",
}


class RewardConfig(Strict):
    """Reward fine-tuning: a trained model makes groups of videos and learns from their scores."""

    start: str
    """Run folder of the model to begin with, local or s3://; its averaged weights."""
    rewards: dict[str, float]
    """Weight by reward: {caption: 1, coherence: 0.5}. A scorer of your own is `module:function`,
    called with videos (B, C, T, H, W) in [-1, 1] and their Condition; it returns (B,)."""
    options: dict[str, dict[str, Any]] = {}
    """Settings of rewards and guards by name, for those that have any."""
    learner: LearnerName = "auto"
    """nft: contrast better and worse rollouts of a denoiser (arXiv:2509.16117); policy: clipped
    policy gradient on group advantages (arXiv:2505.05470); backprop: through the sampler, where
    both it and the rewards can be differentiated; regression: the family's own loss on its best
    rollouts. auto: the first of these that the family takes."""
    group: PositiveInt = 8
    """Videos per condition, which are compared with each other, by all learners but backprop; a
    batch is train.batch_size conditions."""
    guidance: float | None = Field(default=None, ge=0)
    """Of rollouts; empty: sampling.guidance."""
    kl: float = Field(default=0.1, ge=0)
    """Weight of staying near the start, against the learner's loss."""
    strength: float = Field(default=1.0, gt=0)
    """nft: how far the better rollouts pull away from the worse; policy: unused."""
    draws: PositiveInt = 1
    """nft: noise levels that a step sees each rollout at: a look costs less than a rollout."""
    clip: float = Field(default=0.2, gt=0)
    """policy: how far a ratio of probabilities counts."""
    noise: float = Field(default=0.7, gt=0)
    """policy of a denoiser: noise added on the way, against that of the flow."""
    behaviour_decay: Share = 0.9
    """Rollouts are made by weights that follow the trained ones this slowly."""
    guards: dict[str, Ratio] = {"contrast": 0.6, "motion": 0.6, "sharpness": 0.6}
    """Rewards that are not trained for, held out against cheating: the run stops when one of them
    falls below this share of what the start has, on the same held-out conditions."""
    diversity: Ratio = 0.5
    """Likewise for how far two videos of a held-out condition differ."""
    real_clips: PositiveInt = 64
    """Training clips from which rewards and guards learn what real video is like."""

    @field_validator("rewards", "guards")
    @classmethod
    def _known(cls, value: dict[str, float]) -> dict[str, float]:
        for name in value:
            if ":" not in name and name not in REWARDS:
                raise ValueError(
                    f"unknown reward '{name}'{did_you_mean(name, REWARDS)}; "
                    f"known: {', '.join(REWARDS)}, or module:function"
                )
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> RewardConfig:
        if not any(self.rewards.values()):
            raise ValueError("rewards: give at least one a weight other than 0")
        for name in self.options:
            if name not in {**self.rewards, **self.guards}:
                raise ValueError(f"options: '{name}' is neither a reward nor a guard of this run")
        return self
