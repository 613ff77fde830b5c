"""Early stopping: end a run whose validation no longer gets better, and know its best steps.

A pure function of the scores in metrics.jsonl: a run that goes on reads them again, so nothing of
it needs saving and stopping in between changes no decision.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from vidgen.config.run import EarlyStopConfig
from vidgen.errors import ConfigError, did_you_mean


class Progress:
    """The validation scores of a run so far.

    Args:
        config: which score counts, and how long to wait for a better one.
        lines: of metrics.jsonl.
    """

    def __init__(self, config: EarlyStopConfig, lines: Iterable[Mapping[str, Any]] = ()) -> None:
        self._config = config
        self._scores: dict[int, float] = {}
        self._best: int | None = None
        self._since = 0  # validations since the best
        for line in lines:
            if config.metric in line:
                self.see(int(line["step"]), line)

    @property
    def best(self) -> int | None:
        """The step of the best score; an earlier one stands until it is beaten by `min_gain`."""
        return self._best

    def knows(self, step: int) -> bool:
        """Whether there is a score of a step."""
        return step in self._scores

    def see(self, step: int, scores: Mapping[str, float]) -> bool:
        """Note the scores of a validation; whether they are the best so far.

        Raises ConfigError if the metric that counts is not among them.
        """
        metric = self._config.metric
        if metric not in scores:
            raise ConfigError(
                f"early_stop.metric '{metric}' is no validation score of this model"
                + did_you_mean(metric, scores),
                expected=f"one of: {', '.join(sorted(scores))}",
            )
        self._scores[step] = scores[metric]
        gained = self._best is None or (
            self._cost(step) < self._cost(self._best) - self._config.min_gain
        )
        self._best = step if gained else self._best
        self._since = 0 if gained else self._since + 1
        return gained

    def ended(self) -> str | None:
        """Why to stop, in words, once `patience` validations have passed without a better one."""
        patience = self._config.patience
        if not patience or self._since < patience:
            return None
        assert self._best is not None
        return (
            f"stopped early: {self._config.metric} has not got better than "
            f"{self._scores[self._best]:.4g}, of step {self._best}, "
            f"in {patience} validation{'s' * (patience > 1)}"
        )

    def ranking(self) -> list[int]:
        """Validated steps, the best first."""
        return sorted(self._scores, key=lambda step: (self._cost(step), step))

    def _cost(self, step: int) -> float:
        score = self._scores[step]
        return score if self._config.mode == "min" else -score
