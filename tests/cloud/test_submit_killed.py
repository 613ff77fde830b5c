"""submit killed at any moment, and two at once: no job, or one whole job."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from fake_kubernetes import FakeKubernetes

CONFIG = """
name: shapes
data: {synthetic: {clips: 8}, frames: 8}
model: {family: flow, conditions: [text]}
"""


@pytest.fixture
def start(cluster: FakeKubernetes, s3_bucket: str, tmp_path: Path) -> object:
    """Start `vidgen-cloud submit` of run-a in a process of its own; the platform is on S3."""
    data = cluster.get("configmaps", "vidgen-platform")["data"]
    data["platform.yaml"] = data["platform.yaml"].replace("s3://clips/team", f"{s3_bucket}/team")
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_bytes(b"x = 1\n" * 10_000)
    (tmp_path / "run.yaml").write_text(CONFIG)
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")

    def call(*more: str) -> subprocess.Popen[str]:
        command = "from vidgen.cloud.cli import main; main()"
        arguments = ["submit", "run.yaml", "--pool", "a100", "--name", "run-a"]
        return subprocess.Popen(
            [sys.executable, "-c", command, *arguments, "--working-dir", "code", *more],
            cwd=tmp_path,
            env={**os.environ, "KUBECONFIG": str(kubeconfig)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return call


def is_whole(cluster: FakeKubernetes, printed: str) -> bool:
    """The one job is what the dry run said."""
    said = yaml.safe_load(printed)
    return bool(cluster.get("rayjobs", "run-a")["spec"] == said["spec"])


# What the process is doing when it is killed: (method, part of the path) of the request that hangs,
# and whether the server has done the work of that request.
MOMENTS = [
    ("GET", "configmaps", False),
    ("POST", "rayjobs", False),
    ("POST", "rayjobs", True),
]


@pytest.mark.parametrize(("method", "part", "done"), MOMENTS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_killed_at_a_request(
    cluster: FakeKubernetes, start: object, method: str, part: str, done: bool, number: int
) -> None:
    assert callable(start)
    printed = start("--dry-run", "-o", "yaml").communicate(timeout=60)[0]
    process = start()

    def fault(made: str, path: str) -> str | None:
        if made != method or part not in path:
            return None
        if done and "run-a" not in cluster.names("rayjobs"):
            cluster.put("rayjobs", yaml.safe_load(printed))
        process.send_signal(number)
        return "hang"

    cluster.fault = fault
    process.communicate(timeout=60)
    cluster.fault = None
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert cluster.names("rayjobs") == (["run-a"] if done else [])

    again = start()  # and submitting once more puts everything right
    _, err = again.communicate(timeout=60)
    assert again.returncode == 0, err
    assert cluster.names("rayjobs") == ["run-a"]
    assert is_whole(cluster, printed)
    assert cluster.did("DELETE") == []


def test_killed_after_any_while(cluster: FakeKubernetes, start: object) -> None:
    """At moments nobody chose: during imports, packing, upload, create."""
    assert callable(start)
    printed = start("--dry-run", "-o", "yaml").communicate(timeout=60)[0]
    began = time.monotonic()
    start("--dry-run").communicate(timeout=60)
    whole = time.monotonic() - began
    for part in (0.3, 0.6, 0.8, 0.9, 1.0, 1.1, 1.3):
        process = start()
        time.sleep(whole * part)
        process.kill()
        process.communicate(timeout=60)
        assert cluster.names("rayjobs") in ([], ["run-a"])
        if cluster.names("rayjobs"):
            assert is_whole(cluster, printed)
    again = start()
    assert again.communicate(timeout=60) is not None
    assert again.returncode == 0
    assert cluster.names("rayjobs") == ["run-a"]


def test_two_at_once_make_one_job(cluster: FakeKubernetes, start: object) -> None:
    """Both are held at the create until both are there."""
    assert callable(start)
    arrived: list[str] = []

    def fault(method: str, path: str) -> tuple[int, str] | None:
        if method == "POST" and len(arrived) < 2:
            arrived.append(path)
            return 503, "wait for the other"
        return None

    cluster.fault = fault
    both = [start(), start()]
    ends = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert sum("Submitted run-a" in err for err in ends) == 1
    assert sum("already submitted" in err for err in ends) == 1
    assert cluster.names("rayjobs") == ["run-a"]
