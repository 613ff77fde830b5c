"""A fake cluster, a platform, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fake_kubernetes import FakeKubernetes

from vidgen.cloud.platform import Platform, parse_platform

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


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a command line did."""

    code: int
    out: str
    err: str


Cli = Callable[..., Result]


@pytest.fixture
def platform() -> Platform:
    return parse_platform(PLATFORM, "test platform")


@pytest.fixture
def cluster() -> Iterator[FakeKubernetes]:
    """An empty cluster with the platform's ConfigMap."""
    fake = FakeKubernetes("team")
    fake.put(
        "configmaps",
        {"metadata": {"name": "vidgen-platform"}, "data": {"platform.yaml": PLATFORM}},
    )
    yield fake
    fake.close()


@pytest.fixture
def cli(
    cluster: FakeKubernetes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Cli:
    """Run `vidgen-cloud ARGS` against `cluster`."""
    import vidgen.cloud.cluster
    from vidgen.cloud.cli import group
    from vidgen.console import run

    monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setattr(vidgen.cloud.cluster, "_FIRST_WAIT", 0.01)

    def call(*arguments: str) -> Result:
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            run(group, arguments)
        out, err = capsys.readouterr()
        return Result(code=int(left.value.code or 0), out=out, err=err)

    return call
