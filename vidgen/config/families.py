"""The table of model families: a row is a package with `config.Config` and `objective.build`.

A package is imported only when its row is used, and its config.py imports no torch, so a laptop can
validate any run config in milliseconds.
"""

from __future__ import annotations

from importlib import import_module

from vidgen.config.base import ConditionName, FamilyConfig
from vidgen.errors import did_you_mean

FAMILIES: dict[str, str] = {
    "flow": "vidgen.models.flow",
    "gan": "vidgen.models.gan",
    "vae": "vidgen.models.vae",
    "autoregressive": "vidgen.models.autoregressive",
    "recurrent": "vidgen.models.recurrent",
    "convolutional": "vidgen.models.convolutional",
}


def config_class(family: str) -> type[FamilyConfig]:
    """The pydantic class of a family's config. Raises ValueError for an unknown family."""
    if family not in FAMILIES:
        raise ValueError(
            f"unknown family '{family}'{did_you_mean(family, FAMILIES)}; "
            f"known: {', '.join(FAMILIES)}"
        )
    found: type[FamilyConfig] = import_module(f"{FAMILIES[family]}.config").Config
    return found


def families_reading(condition: str) -> list[str]:
    """The families whose models can be conditioned on that."""
    return [name for name in FAMILIES if condition in config_class(name).reads]


def check_conditions(config: FamilyConfig) -> None:
    """Raise ValueError for a condition that the family cannot read, or lacks and needs."""
    for name in config.conditions:
        if name not in config.reads:
            raise ValueError(
                f"models of family '{config.family}' take no '{name}' condition; "
                f"families that do: {', '.join(families_reading(name)) or 'none'}"
            )
    missing: set[ConditionName] = set(config.needs) - set(config.conditions)
    if missing:
        raise ValueError(
            f"models of family '{config.family}' need the condition '{min(missing)}': "
            f"add it to model.conditions"
        )
