"""CRD schemas as strict JSON schemas: what the API server refuses, jsonschema refuses."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml


@cache
def rayjob_validator() -> Any:
    """A validator of RayJob v1, or a skip where the CRDs are not."""
    jsonschema = pytest.importorskip("jsonschema")
    given = os.environ.get("VIDGEN_TEST_CRDS")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "crds"
    file = folder / "ray.io_rayjobs.yaml"
    if not file.is_file():
        pytest.skip("no CRDs: set VIDGEN_TEST_CRDS to the folder with ray.io_rayjobs.yaml")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    versions = yaml.load(file.read_text(encoding="utf-8"), Loader=loader)["spec"]["versions"]
    found = next(v for v in versions if v["name"] == "v1")["schema"]["openAPIV3Schema"]
    found["properties"]["metadata"] = {"x-kubernetes-preserve-unknown-fields": True}
    return jsonschema.Draft202012Validator(_strict(found))


def _strict(schema: Any) -> Any:
    """fieldValidation=Strict: a key the schema does not name is an error."""
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {
        key: {name: _strict(inner) for name, inner in value.items()}
        if key == "properties"
        else _strict(value)
        for key, value in schema.items()
    }
    if (
        "properties" in made
        and "additionalProperties" not in made
        and not made.get("x-kubernetes-preserve-unknown-fields")
    ):
        made["additionalProperties"] = False
    return made
