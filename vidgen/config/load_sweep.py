"""From a sweep file to a Sweep that has been checked: all trials it can make are valid runs."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from vidgen.config.load import Lines, apply_override, explain, load_run, parse_yaml, recipe_text
from vidgen.config.run import RunConfig
from vidgen.config.space import Space, Values, corners, every, place, sample, set_key
from vidgen.config.sweep import SweepConfig
from vidgen.errors import ConfigError, did_you_mean

_CORNERS, _SAMPLES = 512, 64  # points of a space that are tried out before anything starts
_MOST_TRIALS = 10_000
_KEPT = 4  # checkpoints of a pbt trial: others may be about to go on from an older one
_SHOWN = 8  # values named in an error


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """A sweep and the run that its trials vary.

    Attributes:
        config: the sweep.
        base: the run config of all trials but for the space.
        where: the file, for messages; lines: where each key of a trial was set.
    """

    config: SweepConfig
    base: RunConfig
    where: str
    lines: Lines = field(default_factory=dict, repr=False, compare=False)

    @property
    def url(self) -> str:
        """The sweep folder."""
        return self.config.run or f"sweeps/{self.config.name}"

    @property
    def steps(self) -> int:
        """Of a trial that is not stopped."""
        return self.base.train.steps

    @cached_property
    def points(self) -> list[Values] | None:
        """What the trials pick, in order; None when a search decides as it goes."""
        config = self.config
        if config.search.kind == "optuna":
            return None
        if config.search.kind == "grid":
            distinct: dict[str, Values] = {}  # a key that does not hold makes points equal
            for values in every(config.space):
                used = self.used(values)
                distinct.setdefault(repr(used), used)
            points = list(distinct.values())
            if config.scheduler.kind != "none":
                # Neighbours are alike: in the grid's own order each trial might beat those before.
                random.Random(config.search.seed).shuffle(points)
            return points
        seed, count = config.search.seed, config.budget.trials or 0
        return [self.used(sample(config.space, seed, number)) for number in range(count)]

    @property
    def trials(self) -> int:
        """How many there may be."""
        return self.config.budget.trials or len(self.points or ())

    @property
    def grace_steps(self) -> int:
        """Steps before asha or median may stop a trial: a number of whole validations."""
        given = self.config.scheduler.grace_steps
        if given is not None:
            return given
        every_steps = max(1, self.base.train.validate_every)
        return max(1, math.ceil(self.steps / 9 / every_steps)) * every_steps

    @property
    def interval_steps(self) -> int:
        """Steps between pbt's looks at the population."""
        return self.config.scheduler.interval_steps or self.base.train.validate_every

    def used(self, values: Values) -> Values:
        """Those of the values whose conditions hold."""
        return place(self._document, self.config.space, values)[1]

    def run_config(self, trial: str, values: Values) -> RunConfig:
        """The run that a trial is. Raises ConfigError if there can be no such run."""
        config = self.config
        document, used = place(self._document, config.space, values)
        document["name"] = f"{config.name}-{trial}"
        document["run"] = f"{self.url}/trials/{trial}"
        document["scale"] = config.trial.model_dump(mode="json")
        document["storage"] = config.storage.model_dump(mode="json")
        document["early_stop"] |= {"metric": config.metric, "mode": config.mode}
        document["evaluate"] |= {"split": config.final.split}
        if config.scheduler.kind == "pbt":
            train = document["train"]
            train["checkpoint_every"] = self.interval_steps
            train["keep_checkpoints"] = max(_KEPT, train["keep_checkpoints"])
        try:
            return RunConfig.model_validate(document)
        except ValidationError as error:
            found = explain(error, document, self.lines, self.where)
            shown = ", ".join(f"{key}={value}" for key, value in list(used.items())[:_SHOWN])
            raise ConfigError(
                f"{found.what.rstrip('.')}; the space makes trials with {shown}",
                expected=found.expected,
                fix=found.fix,
            ) from None

    @cached_property
    def _document(self) -> dict[str, Any]:
        return self.base.model_dump(mode="json")


def sweep_names() -> list[str]:
    """Names of the packaged sweeps, sorted."""
    folder = resources.files("vidgen.sweeps")
    return sorted(f.name[:-5] for f in folder.iterdir() if f.name.endswith(".yaml"))


def load_sweep(source: str, overrides: tuple[str, ...] | list[str] = ()) -> Sweep:
    """Load and check a sweep: a packaged one by name, or a YAML file; `a.b=c` overrides in order.

    Raises:
        ConfigError: with file and line; also for a space that is empty, names keys that a run
            config does not have, or makes a config that is not valid.
    """
    path = Path(source)
    if source.endswith((".yaml", ".yml")) or "/" in source:
        if not path.is_file():
            raise ConfigError(f"no such sweep file: {source}", fix=_packaged())
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as error:
            raise ConfigError(f"{source} is not UTF-8 text: {error}") from None
        return parse_sweep(text, source, overrides)
    if source not in sweep_names():
        hint = did_you_mean(source, sweep_names())
        raise ConfigError(f"no sweep or file '{source}'{hint}", fix=_packaged())
    text = (resources.files("vidgen.sweeps") / f"{source}.yaml").read_text(encoding="utf-8")
    return parse_sweep(text, f"sweep {source}", overrides)


def parse_sweep(text: str, name: str, overrides: tuple[str, ...] | list[str] = ()) -> Sweep:
    """Check YAML text; `name` stands for it in messages, and files it names lie beside it."""
    document, lines = parse_yaml(text, name)
    for override in overrides:
        apply_override(document, lines, override)
    try:
        config = SweepConfig.model_validate(document)
    except ValidationError as error:
        raise explain(error, document, lines, name, SweepConfig) from None
    base, base_lines = _base(config, lines, name)
    for key in config.space:
        base_lines[tuple(key.split("."))] = lines.get(("space", key), name)
    sweep = Sweep(config=config, base=base, where=name, lines=base_lines)
    _check_schedule(sweep)
    _check_space(sweep)
    return sweep


def dump_sweep(sweep: Sweep) -> str:
    """A sweep as YAML with its recipe inside: it needs no other file, wherever it is read."""
    config = sweep.config.model_copy(
        update={"recipe": sweep.base.model_dump(mode="json"), "set": {}}
    )
    document = config.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)


def _base(config: SweepConfig, lines: Lines, name: str) -> tuple[RunConfig, Lines]:
    """The recipe with `set` applied."""
    document: dict[str, Any]
    found: Lines
    if isinstance(config.recipe, dict):
        document = config.recipe
        found = {at[1:]: line for at, line in lines.items() if at[0] == "recipe"}
        where = name
    else:
        where, text = _recipe(config.recipe, name)
        document, found = parse_yaml(text, where)
    document = dict(document)
    for key, value in config.set.items():
        set_key(document, key, value)
        found[tuple(key.split("."))] = lines.get(("set", key), name)
    try:
        return RunConfig.model_validate(document), found
    except ValidationError as error:
        raise explain(error, document, found, where) from None


def _recipe(recipe: str, name: str) -> tuple[str, str]:
    """(name for messages, text) of a recipe; a file's path is seen from the sweep's folder."""
    if not (recipe.endswith((".yaml", ".yml")) or "/" in recipe):
        return f"recipe {recipe}", recipe_text(recipe)
    path = next((p for p in (Path(name).parent / recipe, Path(recipe)) if p.is_file()), None)
    if path is None:
        load_run(recipe)  # raises, saying what is missing
        raise AssertionError(recipe)
    return str(path), path.read_text(encoding="utf-8")


def _check_schedule(sweep: Sweep) -> None:
    """What a scheduler asks of the run: validations at the right steps."""
    scheduler, train = sweep.config.scheduler, sweep.base.train
    every_steps = train.validate_every
    if not every_steps or every_steps > train.steps:
        raise ConfigError(
            f"{sweep.where}: trials never report {sweep.config.metric}: train.validate_every is "
            f"{every_steps} of {train.steps} steps",
            fix="Set train.validate_every under `set`.",
        )
    if scheduler.kind in ("asha", "median"):
        grace = sweep.grace_steps
        if grace >= train.steps:
            raise ConfigError(
                f"{sweep.where}: scheduler.grace_steps is {grace} of {train.steps} steps: no trial "
                "would ever be stopped",
            )
        if every_steps > grace:
            raise ConfigError(
                f"{sweep.where}: trials validate every {every_steps} steps and may be stopped "
                f"after {grace}",
                fix=f"Set train.validate_every to {grace} or less, under `set`.",
            )
    if scheduler.kind == "pbt":
        interval = sweep.interval_steps
        if interval % every_steps or interval >= train.steps:
            raise ConfigError(
                f"{sweep.where}: scheduler.interval_steps is {interval}",
                expected=f"a multiple of train.validate_every = {every_steps} below train.steps "
                f"= {train.steps}",
            )


def _check_space(sweep: Sweep) -> None:
    """Build what the space can make: every listed trial, the corners, and random points."""
    config = sweep.config
    if config.search.kind == "grid":
        count = math.prod(len(domain.items) for domain in config.space.values())
        if count > _MOST_TRIALS:
            raise ConfigError(
                f"{sweep.where}: the grid has {count} points", expected="10000 or fewer"
            )
        points, limit = len(sweep.points or ()), config.budget.trials
        if limit is not None and limit < points and config.scheduler.kind != "pbt":
            raise ConfigError(
                f"{sweep.where}: the grid has {points} points and budget.trials is {limit}",
                fix="Leave budget.trials out, or search at random.",
            )
    for values in _points(sweep):
        sweep.run_config("check", values)
    for domain in config.space.values():
        for key in domain.when:
            _check_condition(sweep, key)


def _points(sweep: Sweep) -> Iterator[Values]:
    space: Space = sweep.config.space
    yield from corners(space, _CORNERS)
    for number in range(_SAMPLES):
        yield sample(space, sweep.config.search.seed, number)
    yield from (sweep.points or ())[:_MOST_TRIALS]


def _check_condition(sweep: Sweep, key: str) -> None:
    """A condition on a key that no trial has would never hold."""
    for values in corners(sweep.config.space, _CORNERS):
        found: Any = sweep.run_config("check", values).model_dump(mode="json")
        for part in key.split("."):
            found = found.get(part, _Missing) if isinstance(found, dict) else _Missing
        if found is not _Missing:
            return
    raise ConfigError(f"{sweep.where}: `when` asks for '{key}', which no trial has")


class _Missing:
    """Stands for a key that is not there."""


def _packaged() -> str:
    return f"Packaged sweeps: {', '.join(sweep_names())}."
