"""submit: what it sends, and when the same run is sent again."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import yaml
from cloud_setup import Cli, changes
from crd_schemas import problems
from fake_kubernetes import FakeKubernetes, status
from fake_operator import FakeOperator

from vidgen.storage.open import open_store

K8S = Path(__file__).parents[2] / "k8s"


def test_submit_creates_exactly_what_the_dry_run_printed(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text("x = 1")
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a", "--working-dir", str(code)]
    dry = cli(*arguments, "--dry-run", "-o", "yaml")
    printed = yaml.safe_load(dry.out)
    assert changes(cluster) == []
    assert list(open_store(store_url).list()) == []

    assert cli(*arguments).code == 0
    made = cluster.get("rayjobs", "run-a")
    assert {key: made[key] for key in ("spec", "kind", "apiVersion")} == {
        key: printed[key] for key in ("spec", "kind", "apiVersion")
    }
    assert printed["metadata"].items() <= made["metadata"].items()
    assert problems(printed) == []
    (archive,) = open_store(store_url).list("code/")
    assert made["spec"]["runtimeEnvYAML"] == f"working_dir: {store_url}/{archive.key}\n"
    creates = [query for method, _, query in cluster.requests if method == "POST"]
    assert creates == [{"fieldValidation": "Strict"}]


def test_submit_again_is_the_same_run_and_another_config_is_refused(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert cli(*arguments).code == 0
    uid = cluster.get("rayjobs", "run-a")["metadata"]["uid"]
    again = cli(*arguments)
    assert (again.code, "already submitted" in again.err) == (0, True)
    other = cli(*arguments, "--set", "train.steps=7")
    assert other.code == 1
    assert "another run is called 'run-a'" in other.err
    assert cluster.get("rayjobs", "run-a")["metadata"]["uid"] == uid
    assert cluster.names("rayjobs") == ["run-a"]


def test_submit_again_tells_what_the_run_does(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, config: str
) -> None:
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert "it is the same run: running." in cli(*arguments).err
    assert cli("cancel", "run-a", "--now").code == 0
    again = cli(*arguments)
    assert "it is the same run: cancelled. Go on with it: vidgen-cloud resume run-a" in again.err
    assert cluster.names("rayjobs") == ["run-a"]


def test_a_resumed_run_is_never_submitted_beside_itself(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, config: str
) -> None:
    """Resumed elsewhere, a run gives its first RayJob's name free; both would write one folder."""
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert cli("cancel", "run-a", "--now").code == 0
    assert cli("resume", "run-a", "--pool", "v100-spot").code == 0
    assert cluster.names("rayjobs") == ["run-a-r2"]
    again = cli(*arguments)
    assert again.code == 1
    assert "run 'run-a' was resumed: it is RayJob run-a-r2 now" in again.err
    assert cluster.names("rayjobs") == ["run-a-r2"]


def test_submit_whose_answer_is_lost_makes_one_run(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    """The object is made, the connection breaks before the answer: the next try finds it."""

    def lose(method: str, path: str) -> str | None:
        if method != "POST" or cluster.fault is None:
            return None
        cluster.fault = None
        dry = cli_dry
        cluster.put("rayjobs", dry)
        return "drop"

    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    cli_dry = yaml.safe_load(cli(*arguments, "--dry-run", "-o", "yaml").out)
    cluster.fault = lose
    result = cli(*arguments)
    assert result.code == 0
    assert "already submitted" in result.err
    assert cluster.names("rayjobs") == ["run-a"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pool", "a10"], "did you mean 'a100'"),
        (["--pool", "a100", "--set", "train.step=1"], "did you mean 'train.steps'"),
        (["--pool", "a100", "--name", "Run_A"], "'Run_A' is no run name"),
        (["--pool", "a100", "--workers", "1000"], "which has 4"),
        (["--pool", "a100", "--set", "run=s3://x/y"], "Leave `run` out"),
        ([], "Choose one: --pool"),
    ],
)
def test_wrong_submits_are_refused_before_anything_is_sent(
    cli: Cli, cluster: FakeKubernetes, config: str, arguments: list[str], words: str
) -> None:
    result = cli("submit", config, *arguments)
    assert result.code == 2
    assert words in result.err or words.replace("train.", "") in result.err
    assert changes(cluster) == []


def test_a_refused_create_shows_the_servers_words(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    text = 'admission webhook "policy" denied the request: no GPUs on Fridays'
    cluster.fault = lambda m, p: (400, status(400, "BadRequest", text)) if m == "POST" else None
    result = cli("submit", config, "--pool", "a100", "--name", "run-a")
    assert result.code == 1
    assert "no GPUs on Fridays" in result.err
    assert cluster.names("rayjobs") == []


def test_submit_and_wait_ends_with_the_outcome(
    cli: Cli, operator: FakeOperator, config: str, store_url: str
) -> None:

    def life() -> None:
        while "run-a" not in operator.cluster.names("rayjobs"):
            time.sleep(0.02)
        operator.run("run-a")
        time.sleep(0.3)
        operator.end(
            "run-a", jobDeploymentStatus="Failed", jobStatus="FAILED", reason="AppFailed",
            message="Job entrypoint command failed with exit code 1, last:\nerror: no more disk\n",
        )  # fmt: skip

    threading.Thread(target=life, daemon=True).start()
    result = cli("submit", config, "--pool", "a100", "--name", "run-a", "--wait")
    assert result.code == 1
    assert "running" in result.out
    assert "error: no more disk" in result.out


@pytest.mark.parametrize("cloud", ["aks", "eks", "gke", "kind"])
def test_a_dry_run_on_a_rendered_chart_needs_no_cluster(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, cloud: str
) -> None:
    monkeypatch.setenv("KUBECONFIG", "/none")
    chart = str(K8S / "overlays" / cloud / "vidgen.yaml")
    dry = cli("submit", "shapes-flow", "--workers", "1", "--dry-run", "--platform", chart)
    assert dry.code == 0
    assert "run folder  s3://" in dry.out
    other = cli("submit", "shapes-flow", "--dry-run", "--platform", str(K8S / "base/vidgen.yaml"))
    assert other.code == 2
    assert "documents, and no ConfigMap vidgen-platform" in other.err


def test_no_platform_says_how_to_get_one(cli: Cli, cluster: FakeKubernetes, config: str) -> None:
    cluster.remove("configmaps", "vidgen-platform")
    result = cli("submit", config, "--pool", "a100")
    assert result.code == 1
    assert "helm install" in result.err
