"""What the tests of this folder share: a platform, and the result of a command line."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from fake_kubernetes import FakeKubernetes

SWEEP = """\
name: rates
recipe: shapes-flow
space:
  optimizer.lr: {loguniform: [1e-4, 1e-2]}
scheduler: {kind: asha}
budget: {trials: 20}
"""
PLATFORM = """
version: 0.1.0
image: registry.example.com/vidgen:0.1.0
serviceAccount: vidgen-run
objectStore:
  url: s3://clips/team
  endpointUrl: http://s3.example.com:9000
  region: us-east-1
  secretName: vidgen-s3
pools:
  a100:
    gpu: A100 40 GB
    gpusPerNode: 8
    gpuMemory: 40Gi
    maxNodes: 4
    precision: bf16
    pricePerHour: 32.77
    shm: 8Gi
    nodeSelector: {node.kubernetes.io/instance-type: p4d.24xlarge}
    tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
    resources: {requests: {cpu: "11", memory: 120Gi}, limits: {memory: 120Gi}}
  v100-spot:
    gpu: V100 16 GB
    gpusPerNode: 4
    spot: true
    image: registry.example.com/vidgen:0.1.0-v100
    precision: fp16
    gracePeriodSeconds: 15
    drainSeconds: 10
    maxNodes: 2
    resources: {requests: {cpu: "4", memory: 30Gi}, limits: {memory: 30Gi}}
  cpu:
    maxNodes: 4
    resources: {requests: {cpu: 500m, memory: 1Gi}, limits: {memory: 2Gi}}
"""


def helm_generate() -> Any:
    """helm/generate.py, which renders the chart with Helm's own engine; skips without it."""
    pytest.importorskip("helm_python", reason="helm-python-sdk renders the chart")
    sys.path.insert(0, str(Path(__file__).parents[2] / "helm"))
    try:
        return importlib.import_module("generate")
    finally:
        sys.path.pop(0)


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


def changes(cluster: FakeKubernetes) -> list[tuple[str, str]]:
    """(method, what) of the requests that change something."""
    return [(m, p.rsplit("/", 1)[-1]) for m, p, _ in cluster.requests if m != "GET"]
