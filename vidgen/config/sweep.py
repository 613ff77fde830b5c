"""SweepConfig: what a sweep tries, how it gives up on trials, and what it may spend."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from vidgen.config.base import PositiveInt, Ratio, Strict
from vidgen.config.run import ScaleConfig, StorageConfig
from vidgen.config.space import Space
from vidgen.errors import did_you_mean

# Not a trial's business: the sweep decides these, or they change nothing that is learned.
FIXED = (
    "name", "run", "description", "versions", "scale", "storage", "observe",
    "early_stop.metric", "early_stop.mode", "train.steps", "train.validate_every",
)  # fmt: skip


class SearchConfig(Strict):
    """Where the values of the next trial come from."""

    kind: Literal["random", "grid", "optuna"] = "random"
    """optuna: a tree-structured Parzen estimator, which learns from the trials so far."""
    seed: int = Field(default=0, ge=0)
    startup: PositiveInt = 8
    """Random trials before optuna's estimator takes over."""


class SchedulerConfig(Strict):
    """When a trial is given up, or goes on from another one's weights."""

    kind: Literal["none", "asha", "median", "pbt"] = "none"
    """asha: asynchronous successive halving; median: worse than the median of the others' means;
    pbt: population-based training."""
    grace_steps: PositiveInt | None = None
    """asha, median: steps before a trial may be stopped. Empty: a ninth of train.steps."""
    reduction: Annotated[float, Field(gt=1)] = 3
    """asha: about one trial in so many goes on at each rung; rungs lie this factor apart."""
    min_trials: PositiveInt = 3
    """median: trials that must have come as far before one is stopped."""
    interval_steps: PositiveInt | None = None
    """pbt: steps between looks at the population. Empty: train.validate_every."""
    quantile: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """pbt: this share of the population goes on from the weights of as many of the best."""
    resample: Ratio = 0.25
    """pbt: how often a key is drawn anew instead of moved a little."""
    mutate: tuple[str, ...] = ()
    """pbt: keys of the space that change with an exploit. Empty: all but model and data."""
    together: bool = True
    """pbt: trials wait for each other at every look. Without, a trial goes on as soon as it can,
    which needs a larger population than runs at a time."""


class BudgetConfig(Strict):
    """What a sweep may use; whatever is used up first ends it."""

    trials: PositiveInt | None = None
    """Trials in all; of a grid, empty: every one."""
    gpu_hours: float | None = Field(default=None, gt=0)
    """Of all trials together; of processors where there are no GPUs."""
    hours: float | None = Field(default=None, gt=0)
    """On the clock, of each start of the sweep."""


class TrialScale(ScaleConfig):
    """What each trial runs on: `scale` of its run."""

    workers: int = Field(default=1, ge=0)
    """Ray Train workers of a trial; 0 trains in the trial's own process."""


class FinalConfig(Strict):
    """The best trials measured again, with real metrics."""

    top: int = Field(default=3, ge=0)
    """How many; 0: none."""
    clips: PositiveInt | None = None
    """Held-out clips, at most; empty: evaluate.clips of the recipe."""
    split: Literal["val", "test"] = "val"
    """Choosing by clips of the test split would spoil it for the model that is chosen."""
    by: str = "validation_loss"
    """The score that decides which one is best; any of `vidgen evaluate`."""


class SweepConfig(Strict):
    """A sweep: a recipe, a space of values for its keys, and how to search it."""

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", max_length=40)
    """Short name; part of the sweep folder's name and of each trial's."""
    description: str = ""
    run: str | None = None
    """Sweep folder, local or s3://; empty: sweeps/<name>."""
    recipe: str | dict[str, Any]
    """What every trial is but for the space: a packaged recipe, a file, or a run config."""
    set: dict[str, Any] = {}
    """Keys of the recipe that are different in all trials: {train.steps: 500}."""
    space: Space
    """What trials pick from, by key of the run config."""
    search: SearchConfig = SearchConfig()
    scheduler: SchedulerConfig = SchedulerConfig()
    budget: BudgetConfig = BudgetConfig()
    trial: TrialScale = TrialScale()
    concurrent: int | None = Field(default=None, ge=1, le=64)
    """Trials at a time; empty: as many as there is room for."""
    metric: str = "val_loss"
    """The validation score that counts, as in metrics.jsonl: the family's own cheap signal."""
    mode: Literal["min", "max"] = "min"
    """Whether a smaller or a larger score is better."""
    final: FinalConfig = FinalConfig()
    storage: StorageConfig = StorageConfig()

    @field_validator("space")
    @classmethod
    def _tunable(cls, space: Space) -> Space:
        if not space:
            raise ValueError("the space is empty: name at least one key of the recipe to try out")
        for key in space:
            for fixed in FIXED:
                if key == fixed or key.startswith(f"{fixed}."):
                    raise ValueError(
                        f"{key} cannot be tried out: it is the same for all trials of a sweep"
                        + ("; set `trial`" if fixed == "scale" else "; use `set`" * ("." in fixed))
                    )
        return space

    @model_validator(mode="after")
    def _fits_together(self) -> SweepConfig:
        search, scheduler, space = self.search, self.scheduler, self.space
        free = [key for key, domain in space.items() if not domain.items]
        if search.kind == "grid" and free:
            raise ValueError(
                f"search.kind grid needs values it can list, and {free[0]} may be any number; "
                "give it a choice, or search at random"
            )
        if search.kind == "optuna":
            if grids := [key for key, domain in space.items() if domain.grid is not None]:
                raise ValueError(f"optuna walks no grid: make {grids[0]} a choice")
            if scheduler.kind == "pbt":
                raise ValueError("pbt searches by itself: search.kind must be random or grid")
        if search.kind != "grid" and self.budget.trials is None:
            raise ValueError(f"budget.trials is missing: a {search.kind} search has no end")
        if scheduler.kind == "pbt":
            self._check_pbt()
        elif scheduler.mutate:
            raise ValueError("scheduler.mutate goes with pbt")
        return self

    def _check_pbt(self) -> None:
        if self.budget.trials is not None and self.budget.trials < 2:
            raise ValueError("pbt needs a population: budget.trials of 2 or more")
        for key in self.scheduler.mutate:
            if key not in self.space:
                raise ValueError(
                    f"scheduler.mutate: '{key}' is not in the space" + did_you_mean(key, self.space)
                )
        if not self.mutated:
            raise ValueError(
                "pbt has nothing to mutate: the space has only keys of model and data, which "
                "weights may depend on; name those that they do not in scheduler.mutate"
            )

    @property
    def mutated(self) -> tuple[str, ...]:
        """Keys that population-based training moves."""
        ours = [key for key in self.space if key.partition(".")[0] not in ("model", "data")]
        return self.scheduler.mutate or tuple(ours)
