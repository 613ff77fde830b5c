"""A fake cluster, a platform, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_setup import PLATFORM, Cli, Result
from fake_kubernetes import FakeKubernetes
from fake_operator import FakeOperator
from healthy_cluster import healthy  # noqa: F401 - a fixture

import vidgen.cloud.follow
import vidgen.cloud.stopping
from vidgen.cloud.platform import Platform, parse_platform

CONFIG = """
name: shapes
data: {synthetic: {clips: 8}, frames: 8}
model: {family: flow, conditions: [text]}
train: {steps: 100, batch_size: 64}
"""


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


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidgen.cloud.stopping, "_POLL_S", 0.02)
    monkeypatch.setattr(vidgen.cloud.follow, "_AT_LEAST_EVERY_S", 1)


@pytest.fixture
def store_url(cluster: FakeKubernetes, s3_bucket: str) -> str:
    """The platform's object store, on the S3 server."""
    url = f"{s3_bucket}/team"
    text = PLATFORM.replace("s3://clips/team", url)
    cluster.put(
        "configmaps",
        {"metadata": {"name": "vidgen-platform"}, "data": {"platform.yaml": text}},
    )
    return url


@pytest.fixture
def operator(cluster: FakeKubernetes) -> Iterator[FakeOperator]:
    made = FakeOperator(cluster)
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "shapes.yaml"
    file.write_text(CONFIG)
    return str(file)


@pytest.fixture
def running(cli: Cli, operator: FakeOperator, config: str, store_url: str) -> FakeOperator:
    """run-a, submitted and running."""
    assert cli("submit", config, "--pool", "a100", "--name", "run-a").code == 0
    operator.run("run-a")
    return operator
