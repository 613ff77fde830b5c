"""The table of model families: a row is a package with `config.Config` and `objective.build`.

A package is imported only when its row is used, and its config.py imports no torch, so a laptop can
validate any run config in milliseconds. A family of one's own needs no row: its name is the import
path of its package, like `my_models.linear`.
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


def package_of(family: str) -> str:
    """Import path of a family's package. Raises ValueError for a name that can be none."""
    if family not in FAMILIES and "." not in family:
        raise ValueError(
            f"unknown family '{family}'{did_you_mean(family, FAMILIES)}; "
            f"known: {', '.join(FAMILIES)}, or the import path of your own, like my_models.linear"
        )
    return FAMILIES.get(family, family)


def config_class(family: str) -> type[FamilyConfig]:
    """The pydantic class of a family's config. Raises ValueError for an unknown family."""
    package = package_of(family)
    try:
        found: type[FamilyConfig] = import_module(f"{package}.config").Config
    except (ImportError, AttributeError, TypeError) as error:
        raise ValueError(
            f"family {family} cannot be imported: {error}; "
            f"{package}.config must be on the Python path and have a class Config"
        ) from None
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
