"""The learners, the preferred first."""

from __future__ import annotations

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


def choose_learner(wanted: str, objective: Objective, differentiable: bool) -> type[Learner]:
    """The learner of a name, or for 'auto' the first that fits.

    Raises ConfigError, naming those that work, when the family or the rewards do not suit it.
    """
    reasons = {name: each.refuses(objective, differentiable) for name, each in LEARNERS.items()}
    able = [name for name, why in reasons.items() if why is None]
    if wanted == "auto":
        return LEARNERS[able[0]]
    if (why := reasons[wanted]) is not None:
        raise ConfigError(
            f"reward.learner {wanted} does not work here: {why}",
            expected=f"one of: {', '.join(able)}, or auto",
        )
    return LEARNERS[wanted]
