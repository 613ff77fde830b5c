"""The chart as the tests of this folder see it: its value files, rendered once each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("helm_python", reason="needs Helm's engine: pip install helm-python-sdk")
ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "helm"))

import generate  # noqa: E402 - helm/generate.py

sys.path.remove(str(ROOT / "helm"))  # the chart's folder is called vidgen too

from vidgen.cloud.platform import Platform, parse_platform  # noqa: E402

CHART = generate.CHART
FILES = sorted([*(CHART / "presets").glob("*.yaml"), *(CHART / "ci").glob("*.yaml")])
EVERY_FILE = pytest.mark.parametrize("file", FILES, ids=lambda path: path.stem)
Object = dict[str, Any]


@cache
def values_of(file: Path) -> dict[str, Any]:
    values: dict[str, Any] = yaml.safe_load(file.read_text())
    return values


@cache
def objects_of(file: Path) -> list[Object]:
    return generate.render(values_of(file))


@cache
def platform_of(file: Path) -> Platform:
    config = named(objects_of(file), "ConfigMap", "vidgen-platform")
    return parse_platform(config["data"]["platform.yaml"], file.name)


def kinds(objects: list[Object], *wanted: str) -> list[Object]:
    return [each for each in objects if each["kind"] in wanted]


def named(objects: list[Object], kind: str, name: str) -> Object:
    found = [each for each in kinds(objects, kind) if each["metadata"]["name"] == name]
    assert len(found) == 1, f"{len(found)} {kind} {name}"
    return found[0]


def pod_specs(obj: Object) -> Iterator[tuple[str, Object]]:
    """(where, pod template) of every pod an object leads to."""
    name = f"{obj['kind']} {obj['metadata']['name']}"
    spec = obj.get("spec", {})
    if obj["kind"] == "RayJob":
        spec = spec["rayClusterSpec"]
    if obj["kind"] in ("RayCluster", "RayJob"):
        yield f"{name} head", spec["headGroupSpec"]["template"]
        for group in spec["workerGroupSpecs"]:
            yield f"{name} {group['groupName']}", group["template"]
    elif isinstance(spec, dict) and "template" in spec:
        yield name, spec["template"]
