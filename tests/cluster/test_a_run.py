"""A run's whole life with `vidgen-cloud` alone, on a real cluster, before the release goes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(1800)

RUN = """
name: shapes
data: {synthetic: {clips: 16}, frames: 8}
model: {family: flow, conditions: [text], width: 48, depth: 1, heads: 4}
train: {steps: 100000, batch_size: 4, log_every: 1, validate_every: 0, sample_every: 0,
        checkpoint_every: 50000}
"""


@dataclass(frozen=True)
class Cloud:
    """`vidgen-cloud` of a laptop that has a kubeconfig and no credentials of any store."""

    kubeconfig: str
    namespace: str
    folder: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        env = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "VIDGEN_"))}
        command = "from vidgen.cloud.cli import main; main()"
        return subprocess.Popen(
            [sys.executable, "-c", command, "-n", self.namespace, *arguments],
            env={**env, "KUBECONFIG": self.kubeconfig}, cwd=self.folder,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def __call__(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=900)
        assert process.returncode == code, f"{arguments}: {out}{err}"
        return subprocess.CompletedProcess(arguments, code, out, err)


@pytest.fixture
def cloud(platform: Any, tmp_path: Path) -> Cloud:
    return Cloud(platform.kubeconfig, platform.namespace, tmp_path)


def wait_for_step(cloud: Cloud, name: str, step: int) -> dict[str, Any]:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        told: dict[str, Any] = json.loads(cloud("status", name, "--json").stdout)
        assert not told["terminal"], told
        if (told["step"] or 0) >= step:
            return told
        time.sleep(3)
    pytest.fail(f"{name} did not reach step {step}: {told}")


def test_doctor_finds_a_healthy_platform(cloud: Cloud) -> None:
    found = json.loads(cloud("doctor", "--json").stdout)
    assert [f for f in found if f["level"] == "failure"] == []
    assert "object store from a pod" in {f["check"] for f in found if f["level"] == "ok"}


def test_submit_follow_cancel_fetch_resume_delete(
    platform: Any, cloud: Cloud, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("x = 1\n")
    submit = ["submit", "run.yaml", "--workers", "1", "--name", "life", "--working-dir", "code"]
    cloud(*submit)
    assert "already submitted" in cloud(*submit).stderr

    told = wait_for_step(cloud, "life", 5)
    assert told["phase"] == "running"
    assert "life" in cloud("list").stdout
    assert "run folder" in cloud("logs", "life").stdout
    assert "cpu" in cloud("pools").stdout

    followers = cloud.start("status", "life", "--watch"), cloud.start("logs", "life", "-f")
    assert "GPUs are free" in cloud("cancel", "life").stderr
    for follower, words in zip(followers, ("cancelled", "run folder"), strict=True):
        out, err = follower.communicate(timeout=120)
        assert (follower.returncode, words in out) == (130, True), out + err
    assert json.loads(cloud("status", "life", "--json").stdout)["phase"] == "cancelled"
    cloud("fetch", "life", "checkpoint", "--out", "got")
    (saved,) = (tmp_path / "got" / "checkpoints").iterdir()
    assert (saved / "COMMITTED").is_file()
    step = int(saved.name.removeprefix("step_"))
    assert step >= 5

    cloud("resume", "life")
    assert wait_for_step(cloud, "life", step + 5)["rayjob"] == "life-r2"
    cloud("cancel", "life", "--now")
    cloud("delete", "life", "--yes")
    assert "no run 'life'" in cloud("status", "life", code=1).stderr
    # Its output stays in the run folder: two starts of it.
    assert cloud("logs", "life").stdout.count("run folder") >= 2
