"""Writes configuration.md, the reference of all keys, from the schema that validates them.

usage: docs/configuration.py [--check]     --check: only say whether it is up to date
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vidgen.config.families import FAMILIES, config_class
from vidgen.config.prepare import PrepareOptions
from vidgen.config.run import RunConfig
from vidgen.config.sweep import SweepConfig

TARGET = Path(__file__).with_suffix(".md")
HEAD = """\
# Configuration

Every key, made by `docs/configuration.py` from the schema that validates it; `vidgen config schema`
prints that as JSON, `vidgen config show RECIPE` a recipe with all of its values. `--set a.b=c`
changes any of them.
"""


def main() -> None:
    text = HEAD + "".join(sections())
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text)
    elif TARGET.read_text() != text:
        sys.exit(f"{TARGET} is out of date: run {Path(__file__).name}")


def sections() -> Iterator[str]:
    yield "\n## A run\n"
    schema = RunConfig.model_json_schema()
    yield from tables(schema, schema, "", leave_out={"model"})
    for name in FAMILIES:
        yield f"\n## `model` with `family: {name}`\n"
        yield from of(config_class(name), "model.")
    yield "\n## A sweep\n"
    yield from of(SweepConfig, "")
    yield "\n## `vidgen data prepare --set`\n"
    yield from of(PrepareOptions, "")


def of(config: type[BaseModel], prefix: str) -> Iterator[str]:
    schema = config.model_json_schema()
    yield from tables(schema, schema, prefix)


def tables(
    schema: dict[str, Any], part: dict[str, Any], prefix: str, leave_out: set[str] = frozenset()
) -> Iterator[str]:
    """A table of a group's own keys, then the groups within it."""
    rows, groups = [], []
    for key, value in part["properties"].items():
        if key in leave_out:
            continue
        if (inner := group(schema, value)) is not None:
            groups.append((key, inner))
            continue
        if (inner := group(schema, value.get("items", {}))) is not None:
            groups.append((f"{key}.N", inner))
        told = " ".join(value.get("description", "").split())
        told = told.replace("|", "\\|").replace("<", "\\<")
        cells = (f"`{prefix}{key}`", kind(schema, value), default(value, key, part), told)
        rows.append(f"| {' | '.join(cells)} |\n")
    if rows:
        yield "\n| key | type | default | |\n|---|---|---|---|\n"
        yield from rows
    for key, inner in groups:
        yield f"\n### `{prefix}{key}`\n"
        if "description" in inner:
            yield "\n" + " ".join(inner["description"].split("\n\n")[0].split()) + "\n"
        yield from tables(schema, inner, f"{prefix}{key}.")


def group(schema: dict[str, Any], value: dict[str, Any]) -> dict[str, Any] | None:
    """The group of keys that a key holds, if it does."""
    options = [each for each in value.get("anyOf", [value]) if each.get("type") != "null"]
    if len(options) != 1 or "$ref" not in options[0]:
        return None
    found: dict[str, Any] = schema["$defs"][options[0]["$ref"].rpartition("/")[2]]
    return found if "properties" in found else None


def kind(schema: dict[str, Any], value: dict[str, Any]) -> str:
    """The type of a key, in a few words."""
    if "$ref" in value:
        named = schema["$defs"][value["$ref"].rpartition("/")[2]]
        return named["title"] if "properties" in named else kind(schema, named)
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(kind(schema, each) for each in value["anyOf"]))
    if "enum" in value:
        return ", ".join(f"`{each}`" for each in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if value.get("type") == "array":
        if "prefixItems" in value:
            return "[" + ", ".join(kind(schema, each) for each in value["prefixItems"]) + "]"
        return f"list of {kind(schema, value.get('items', {}))}"
    if value.get("type") == "object":
        inner = value.get("additionalProperties")
        return f"map of {kind(schema, inner)}" if isinstance(inner, dict) else "map"
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {value[key]:g}" for key, sign in signs.items() if key in value]
    return " ".join(
        [{"null": "empty"}.get(value.get("type", ""), value.get("type", "any")), *bounds]
    )


def default(value: dict[str, Any], key: str, part: dict[str, Any]) -> str:
    if key in part.get("required", ()):
        return "must be given"
    found = value.get("default")
    return "" if found in (None, "") else f"`{json.dumps(found, ensure_ascii=False)}`"


if __name__ == "__main__":
    main()
