"""The table of model families: a row is a package with `config.Config` and `objective.build`.

A package is imported only when its row is used, and its config.py imports no torch, so a laptop can
validate any run config in milliseconds.
"""

from __future__ import annotations

from importlib import import_module

from vidgen.config.base import FamilyConfig
from vidgen.errors import did_you_mean

FAMILIES: dict[str, str] = {
    "flow": "vidgen.models.flow",
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
