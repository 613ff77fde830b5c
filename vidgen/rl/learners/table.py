"""The learners, the preferred first."""

from __future__ import annotations

from vidgen.config.reward import RewardConfig
from vidgen.errors import ConfigError
from vidgen.models.base import Objective
from vidgen.rl.learners.backprop import Backprop
from vidgen.rl.learners.base import Learner
from vidgen.rl.learners.nft import Nft
from vidgen.rl.learners.policy import PolicyGradient
from vidgen.rl.learners.regression import Regression

LEARNERS: dict[str, type[Learner]] = {
    each.name: each for each in (Nft, PolicyGradient, Backprop, Regression)
}


def choose_learner(
    config: RewardConfig, objective: Objective, differentiable: bool
) -> type[Learner]:
    """The learner of a name, or for 'auto' the first that fits.

    Raises ConfigError, naming those that work, when the family or the rewards do not suit it.
    """
    reasons = {name: each.refuses(objective, differentiable) for name, each in LEARNERS.items()}
    able = [name for name, why in reasons.items() if why is None]
    wanted = able[0] if config.learner == "auto" else config.learner
    if (why := reasons[wanted]) is not None:
        raise ConfigError(
            f"reward.learner {wanted} does not work here: {why}",
            expected=f"one of: {', '.join(able)}, or auto",
        )
    if LEARNERS[wanted].compares and config.group < 2:
        raise ConfigError(
            f"reward.group {config.group}: learner {wanted} compares videos of a condition",
            expected="2 or more; 8 is a good start",
        )
    return LEARNERS[wanted]
