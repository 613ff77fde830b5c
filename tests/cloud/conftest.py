"""A fake cluster, a platform, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cloud_setup import PLATFORM, Cli, Result
from fake_kubernetes import FakeKubernetes

from vidgen.cloud.platform import Platform, parse_platform


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
