"""A search space over the keys of a run config: what a key may be, and how trials pick values.

Everything here is a function of the space, a seed and a trial's number: the same sweep has the same
trials on every machine, and a laptop can check them all without torch.
"""

from __future__ import annotations

import copy
import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from pydantic import Field, model_validator

from vidgen.config.base import Strict

Values = dict[str, Any]  # what a trial picked, by key; of a named choice, its name
Items = tuple[Any, ...]

_KINDS = ("loguniform", "uniform", "integer", "choice", "grid")
_FACTORS = (0.8, 1.25)  # by which population-based training moves a number


class Domain(Strict):
    """What one key may be: exactly one of loguniform, uniform, int, choice and grid.

    choice and grid list values, or name them: `{small: {width: 96}, large: {width: 192}}`. A value
    that is a mapping is merged into the group that the key names; one with a `family` replaces it.
    """

    loguniform: tuple[float, float] | None = None
    """Any number between two positive bounds; each factor is as likely as any other."""
    uniform: tuple[float, float] | None = None
    """Any number between two bounds."""
    integer: tuple[int, int] | None = Field(default=None, alias="int")
    """Any whole number between two bounds, both included."""
    choice: Items | dict[str, Any] | None = None
    """One of these."""
    grid: Items | dict[str, Any] | None = None
    """Each of these, equally often."""
    step: int = Field(default=1, ge=1)
    """Between the numbers of `int`."""
    when: dict[str, Any] = {}
    """Only in trials where these keys have this value, or one of these: {optimizer.name: sgd}."""

    @model_validator(mode="after")
    def _is_one_kind(self) -> Domain:
        given = [kind for kind in _KINDS if getattr(self, kind) is not None]
        if len(given) != 1:
            names = ", ".join(kind.replace("integer", "int") for kind in _KINDS)
            raise ValueError(f"a search space needs exactly one of {names}")
        bounds = self.bounds
        if bounds is not None:
            low, high = bounds
            if not (math.isfinite(low) and math.isfinite(high)) or low >= high:
                raise ValueError(
                    f"the space from {low:g} to {high:g} is empty: low must be below high"
                )
            if self.loguniform and low <= 0:
                raise ValueError(f"loguniform needs positive bounds, not {low:g}")
        elif not self.items:
            raise ValueError("the space is empty: list at least one value")
        elif len({_digest(item) for item in self.items}) < len(self.items):
            raise ValueError("the same value is listed twice")
        if self.step != 1 and self.integer is None:
            raise ValueError("step goes with int")
        return self

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Of numbers; None for choice and grid."""
        return self.loguniform or self.uniform or self.integer

    @property
    def items(self) -> Items:
        """All there are of choice, grid and int, as a trial records them; () for any number."""
        listed = self.choice if self.choice is not None else self.grid
        if listed is not None:
            return tuple(listed)
        if self.integer:
            return tuple(range(self.integer[0], self.integer[1] + 1, self.step))
        return ()

    def value(self, item: Any) -> Any:
        """What the key becomes when a trial picked `item`."""
        listed = self.choice if self.choice is not None else self.grid
        return copy.deepcopy(listed[item]) if isinstance(listed, dict) else item

    def sample(self, rng: random.Random) -> Any:
        if self.loguniform:
            low, high = map(math.log, self.loguniform)
            return _short(math.exp(rng.uniform(low, high)), *self.loguniform)
        if self.uniform:
            return _short(rng.uniform(*self.uniform), *self.uniform)
        return rng.choice(self.items)

    def ends(self) -> Items:
        """The values at which a config is most likely to be impossible: bounds, or all listed."""
        if self.integer:
            return self.items[0], self.items[-1]
        return self.bounds or self.items

    def near(self, item: Any, rng: random.Random) -> Any:
        """A value beside `item`: a number times 0.8 or 1.25, within bounds; a neighbour in a list.

        Population-based training's step (https://arxiv.org/abs/1711.09846).
        """
        if self.loguniform or self.uniform:
            low, high = self.bounds  # type: ignore[misc]
            return _short(min(high, max(low, item * rng.choice(_FACTORS))), low, high)
        at = self.items.index(item) if item in self.items else 0
        way = max(1, round(len(self.items) * 0.2)) if self.integer else 1
        moved = at + rng.choice((-way, way))
        return self.items[min(len(self.items) - 1, max(0, moved))]


Space = dict[str, Domain]


def sample(space: Space, seed: int, number: int) -> Values:
    """What trial `number` picks at random; grids are walked, so that all values come equally often.

    Each key has a random stream of its own: another key more changes none of the others.
    """
    grids = {key: domain for key, domain in space.items() if domain.grid is not None}
    cells = list(itertools.product(*(domain.items for domain in grids.values())))
    values = dict(zip(grids, cells[number % len(cells)], strict=True))
    for key, domain in space.items():
        if key not in values:
            values[key] = domain.sample(random.Random(f"{seed} {number} {key}"))
    return {key: values[key] for key in space}


def every(space: Space) -> Iterator[Values]:
    """All points of a space without continuous keys, the last key changing fastest."""
    for cell in itertools.product(*(domain.items for domain in space.values())):
        yield dict(zip(space, cell, strict=True))


def corners(space: Space, most: int) -> Iterator[Values]:
    """Points with every key at an end of its range: all of them, or `most` drawn at random.

    Those at which every key is at its first or at its last end are among them.
    """
    ends = [domain.ends() for domain in space.values()]
    count = math.prod(map(len, ends))
    if count <= most:
        for cell in itertools.product(*ends):
            yield dict(zip(space, cell, strict=True))
        return
    for at in (0, -1):
        yield dict(zip(space, (end[at] for end in ends), strict=True))
    for number in range(most - 2):
        rng = random.Random(f"corner {number}")
        yield dict(zip(space, map(rng.choice, ends), strict=True))


def mutate(
    space: Space, keys: Iterable[str], values: Values, resample: float, rng: random.Random
) -> Values:
    """Values with each of `keys` moved a little or, with probability `resample`, drawn anew."""
    moved = dict(values)
    for key in keys:
        if key in moved:
            domain = space[key]
            fresh = rng.random() < resample
            moved[key] = domain.sample(rng) if fresh else domain.near(moved[key], rng)
    return moved


def place(base: Mapping[str, Any], space: Space, values: Values) -> tuple[dict[str, Any], Values]:
    """A run config's document with the values in their keys, and those values that count.

    Keys are set in the order of the space; one whose `when` does not hold by then is left alone.
    """
    document = copy.deepcopy(dict(base))
    used: Values = {}
    for key, domain in space.items():
        if key in values and _holds(domain.when, document):
            set_key(document, key, domain.value(values[key]))
            used[key] = values[key]
    return document, used


def set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set `a.b`; a mapping is merged into the group that is there, unless it names a family."""
    *groups, last = key.split(".")
    target = document
    for group in groups:
        inner = target.get(group)
        if not isinstance(inner, dict):
            inner = target[group] = {}
        target = inner
    if isinstance(value, dict) and "family" not in value and isinstance(target.get(last), dict):
        for name, each in value.items():
            set_key(target[last], name, each)
    else:
        target[last] = value


def _holds(when: Mapping[str, Any], document: Mapping[str, Any]) -> bool:
    for key, wanted in when.items():
        found: Any = document
        for part in key.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        if found not in (wanted if isinstance(wanted, list | tuple) else [wanted]):
            return False
    return True


def _short(value: float, low: float, high: float) -> float:
    """Four digits: what a person can read, write down and try again."""
    return min(high, max(low, float(f"{value:.4g}")))


def _digest(item: Any) -> str:
    return json.dumps(item, sort_keys=True)
