"""Check objects against the schemas of real custom resource definitions.

Strict as `kubectl create --validate=strict` is: unknown fields are errors.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
FOLDER = Path(os.environ.get("VIDGEN_TEST_CRDS") or ROOT.parent / "shared" / "crds")


def problems(obj: dict[str, Any]) -> list[str]:
    """What is wrong with a custom resource, one line each. Skips where there are no definitions."""
    validator = _validator(obj["apiVersion"], obj["kind"])
    return [f"{error.json_path}: {error.message[:300]}" for error in validator.iter_errors(obj)]


@cache
def _validator(api_version: str, kind: str) -> jsonschema.Draft202012Validator:
    if not FOLDER.is_dir():
        pytest.skip(f"no custom resource definitions in {FOLDER}; set VIDGEN_TEST_CRDS")
    group, _, name = api_version.partition("/")
    text = (FOLDER / f"{group}_{kind.lower()}s.yaml").read_text()
    definition = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    (version,) = [each for each in definition["spec"]["versions"] if each["name"] == name]
    schema = version["schema"]["openAPIV3Schema"]
    # The API server knows these three by itself.
    schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {"type": "object"}}
    return jsonschema.Draft202012Validator(_json_schema(schema))


def _json_schema(node: Any) -> Any:
    """A structural schema as JSON schema: closed objects, nullable fields, int-or-string."""
    if isinstance(node, list):
        return [_json_schema(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _json_schema(value) for key, value in node.items() if key != "format"}
    if isinstance(node.get("properties"), dict) and "type" in node:
        out["properties"] = {key: _json_schema(value) for key, value in node["properties"].items()}
        if not node.get("x-kubernetes-preserve-unknown-fields"):
            out.setdefault("additionalProperties", False)
    if node.get("x-kubernetes-int-or-string"):
        out.pop("type", None)
    if node.get("nullable") and isinstance(node.get("type"), str):
        out["type"] = [node["type"], "null"]
    return out
