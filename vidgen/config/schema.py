"""The JSON schema of a run config, for editors and checks outside vidgen."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from vidgen.config.families import FAMILIES, config_class
from vidgen.config.run import RunConfig


def run_schema() -> dict[str, Any]:
    """JSON schema of RunConfig in which `model` is any of the families' own configs."""
    families = [config_class(name) for name in FAMILIES]
    kinds: list[type[BaseModel]] = [RunConfig, *families]
    refs, schema = models_json_schema([(kind, "validation") for kind in kinds])
    definitions = schema["$defs"]
    run = definitions.pop(RunConfig.__name__)
    of_family = [refs[kind, "validation"] for kind in families]
    run["properties"]["model"] |= {"anyOf": of_family}
    run["properties"]["model"].pop("$ref", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **run, "$defs": definitions}
