"""A bad day of the API server: the words, the exit code, and nothing deleted or duplicated."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes, status
from replay import HERE, need_recordings, play

import vidgen.cloud.cluster

READS = [("status", "run-a"), ("list",), ("logs", "run-a")]
WRITES = [("cancel", "run-a", "--now"), ("delete", "run-a", "--yes", "--force")]


@pytest.fixture(autouse=True)
def running(cluster: FakeKubernetes) -> None:
    play(HERE / "running", cluster)


def unchanged(cluster: FakeKubernetes) -> bool:
    return cluster.names("rayjobs") == ["run-a"] and not cluster.get("rayjobs", "run-a")[
        "spec"
    ].get("suspend")


@pytest.mark.parametrize("command", [*READS, *WRITES], ids=lambda c: c[0])
@pytest.mark.parametrize(
    ("code", "body", "words"),
    [
        (401, status(401, "Unauthorized", "Unauthorized"), "does not accept your credentials"),
        (
            403,
            status(403, "Forbidden", 'rayjobs.ray.io is forbidden: User "bo" cannot list resource'),
            'not allowed: rayjobs.ray.io is forbidden: User "bo" cannot list resource',
        ),
        (404, "404 page not found\n", "the cluster knows nothing of"),
        (429, status(429, "TooManyRequests", "slow down"), "overloaded (429)"),
        (500, status(500, "InternalError", "etcd is sad"), "etcd is sad"),
        (503, "upstream unavailable", "failed at GET"),
    ],
    ids=["expired", "forbidden", "no-crd", "429", "500", "503"],
)
def test_refused_for_good(
    cli: Cli, cluster: FakeKubernetes, command: tuple[str, ...], code: int, body: str, words: str
) -> None:
    cluster.fault = lambda method, path: (code, body) if "rayjobs" in path else None
    result = cli(*command)
    assert (result.code, result.out) == (1, "")
    assert words in result.err
    assert len([line for line in result.err.splitlines() if line.startswith("error:")]) == 1
    assert unchanged(cluster)


@pytest.mark.parametrize("fault", [(429, "busy"), (500, "oh"), (503, "no"), "drop"], ids=str)
def test_failing_now_and_then_is_not_noticed(
    cli: Cli, cluster: FakeKubernetes, fault: tuple[int, str] | str
) -> None:
    tries: dict[str, int] = {}

    def every_other(method: str, path: str) -> tuple[int, str] | str | None:
        tries[path] = tries.get(path, 0) + 1
        return fault if tries[path] % 2 else None

    cluster.fault = every_other
    result = cli("status", "run-a")
    assert result.code == 0
    assert "running" in result.out


def test_a_server_that_never_answers(
    cli: Cli, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vidgen.cloud.cluster, "_READ_S", 0.05)
    monkeypatch.setattr(vidgen.cloud.cluster.Cluster._request, "__defaults__", (None, None, 0.05))
    cluster.fault = lambda method, path: "hang"
    result = cli("status", "run-a")
    assert result.code == 1
    assert f"cannot reach the cluster at {cluster.url}: it does not answer in time" in result.err


def test_connection_refused(
    cli: Cli, cluster: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        cluster.url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "gone")))
    result = cli("list")
    assert (result.code, result.out) == (1, "")
    assert "connection refused" in result.err
    assert "--context" in result.err


def test_missing_namespace(cli: Cli, cluster: FakeKubernetes) -> None:
    answer = status(404, "NotFound", 'namespaces "nowhere" not found', name="x", kind="namespaces")
    cluster.fault = lambda method, path: (404, answer)
    result = cli("-n", "nowhere", "status", "run-a")
    assert result.code == 1
    assert "namespace 'nowhere' does not exist" in result.err
    assert "--namespace" in result.err


@pytest.mark.parametrize("before", [True, False])
def test_namespace_and_context_are_taken_before_and_after_the_command(
    cli: Cli, cluster: FakeKubernetes, before: bool
) -> None:
    where = ["-n", "elsewhere", "--context", "fake"]
    cli(*([*where, "list"] if before else ["list", *where]))
    assert set(cluster.did("GET")) == {
        "/apis/ray.io/v1/namespaces/elsewhere/rayjobs",
        "/api/v1/namespaces/elsewhere/pods",
    }


def test_unknown_context_is_bad_usage(cli: Cli) -> None:
    result = cli("--context", "fak", "list")
    assert result.code == 2
    assert "did you mean 'fake'" in result.err


def test_no_kubeconfig_is_bad_usage(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    result = cli("list")
    assert result.code == 2
    assert "no cluster to talk to" in result.err


def test_an_unknown_run_names_the_nearest(cli: Cli) -> None:
    result = cli("status", "run-aa")
    assert result.code == 1
    assert "no run 'run-aa' in namespace 'team' (did you mean 'run-a'?)" in result.err


def test_a_watch_that_has_expired_starts_again(cli: Cli, cluster: FakeKubernetes) -> None:
    """410 on each watch, and the run ends meanwhile: seen all the same."""
    gone = status(410, "Expired", "too old resource version")

    def fault(method: str, path: str) -> tuple[int, object] | None:
        if cluster.requests[-1][2].get("watch") != "true":
            return None
        play(HERE / "succeeded", cluster)
        return 410, gone

    cluster.fault = fault  # type: ignore[assignment]
    result = cli("status", "run-a", "--watch")
    assert result.code == 0
    assert "running" in result.out
    assert "succeeded" in result.out


def test_following_survives_an_api_server_restart(
    cli: Cli, cluster: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    import vidgen.cloud.follow

    monkeypatch.setattr(vidgen.cloud.follow, "_AT_LEAST_EVERY_S", 0)
    seen = []

    def fault(method: str, path: str) -> str | None:
        if "rayjobs" not in path:
            return None
        seen.append(path)
        if len(seen) == 12:
            play(HERE / "succeeded", cluster)
        return "drop" if 2 <= len(seen) <= 12 else None

    cluster.fault = fault
    result = cli("status", "run-a", "--watch")
    assert result.code == 0
    assert "Waiting for the cluster" in result.err
    assert "succeeded" in result.out


def test_pods_that_may_not_be_listed_do_not_make_a_run_look_lost(
    cli: Cli, cluster: FakeKubernetes
) -> None:
    answer = status(403, "Forbidden", "pods is forbidden")
    cluster.fault = lambda method, path: (403, answer) if path.endswith("/pods") else None
    result = cli("status", "run-a")
    assert result.code == 0
    assert "state      running" in result.out


def test_answers_of_a_real_server_for_users_without_rights(
    cli: Cli, cluster: FakeKubernetes
) -> None:
    """Each recorded refusal of get and list, replayed: one line, exit code 1."""
    file = need_recordings() / "api-forbidden" / "responses.jsonl"
    answers = [json.loads(line) for line in file.read_text().splitlines()]
    refused = [
        a for a in answers if a["http"] >= 400 and a["what"] in ("get rayjob", "list rayjobs")
    ]
    assert len(refused) >= 4
    for answer in refused:
        cluster.fault = lambda method, path, a=answer: (a["http"], a["body"])  # type: ignore[misc]
        result = cli("list") if answer["what"] == "list rayjobs" else cli("status", "run-a")
        assert result.code == 1, answer
        assert result.err.startswith("error: "), answer
        assert result.err.count("\n") == 1, answer
    assert unchanged(cluster)
