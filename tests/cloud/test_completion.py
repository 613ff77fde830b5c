"""Tab in the shell: commands, flags and the names of runs, and never an error into the prompt."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_kubernetes import FakeKubernetes
from replay import HERE, play


def vidgen_cloud(kubeconfig: Path, **env: str) -> subprocess.CompletedProcess[str]:
    command = "import sys; sys.argv[0] = 'vidgen-cloud'; from vidgen.cloud.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", command], capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "KUBECONFIG": str(kubeconfig), **env},
    )  # fmt: skip


def completed(kubeconfig: Path, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    done = vidgen_cloud(
        kubeconfig,
        _VIDGEN_CLOUD_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["vidgen-cloud", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(tmp_path: Path, shell: str) -> None:
    if shell == "bash" and not Path("/bin/bash").exists():
        pytest.skip("bash is not installed: click asks it for its version")
    done = vidgen_cloud(tmp_path / "none", _VIDGEN_CLOUD_COMPLETE=f"{shell}_source")
    assert "_VIDGEN_CLOUD_COMPLETE" in done.stdout


def test_commands_flags_and_runs(cluster: FakeKubernetes, tmp_path: Path) -> None:
    play(HERE / "running", cluster)
    kubeconfig = cluster.write_kubeconfig(tmp_path / "kubeconfig")
    assert completed(kubeconfig, "s") == ["submit", "status"]
    assert "--working-dir" in completed(kubeconfig, "submit", "--w")
    assert completed(kubeconfig, "status", "r") == ["run-a"]
    assert completed(kubeconfig, "-n", "team", "fetch", "run-a", "ch") == ["checkpoint"]
    assert completed(kubeconfig, "-n", "team", "status", "") == ["run-a"]
    assert completed(kubeconfig, "-n", "elsewhere", "status", "") == []
    assert completed(kubeconfig, "status", "-n", "elsewhere", "") == []


def test_without_a_cluster_nothing_is_offered_and_nothing_said(tmp_path: Path) -> None:
    assert completed(tmp_path / "none", "status", "") == []
