"""What real API servers do beyond answering: pages, lost places in history, collisions, policies,
logins that fail."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes, status
from replay import HERE, need_recordings, play

import vidgen.cloud.cluster
from vidgen.cloud.cluster import PODS, RAYJOBS, Cluster
from vidgen.cloud.refusals import AlreadyExists, BadCredentials, Forbidden, NotFound, explain
from vidgen.errors import ClusterError


@pytest.fixture
def connected(cluster: FakeKubernetes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setenv("KUBECONFIG", str(cluster.write_kubeconfig(tmp_path / "kubeconfig")))
    monkeypatch.setattr(vidgen.cloud.cluster, "_FIRST_WAIT", 0.01)
    monkeypatch.setattr(vidgen.cloud.cluster, "_PAGE", 2)
    return Cluster.connect()


def test_long_lists_come_page_by_page(cluster: FakeKubernetes, connected: Cluster) -> None:
    names = [f"pod-{number}" for number in range(5)]
    for name in names:
        cluster.put("pods", {"metadata": {"name": name}})
    assert [p["metadata"]["name"] for p in connected.list(PODS)] == names
    assert len(cluster.did("GET")) == 3


def test_a_list_whose_place_in_history_is_gone_starts_again(
    cluster: FakeKubernetes, connected: Cluster
) -> None:
    for number in range(5):
        cluster.put("pods", {"metadata": {"name": f"pod-{number}"}})
    gone = status(410, "Expired", "The provided continue parameter is too old")

    def fault(method: str, path: str) -> tuple[int, Any] | None:
        return (410, gone) if cluster.requests[-1][2].get("continue") == "4" else None

    cluster.fault = fault
    assert len(connected.list(PODS)) == 5
    assert "limit" not in cluster.requests[-1][2]  # all at once: no place to lose


@pytest.mark.parametrize("how", ["answer", "event"])
def test_a_watch_without_a_place_in_history_is_no_busy_loop(
    cluster: FakeKubernetes, connected: Cluster, how: str
) -> None:
    play(HERE / "running", cluster)
    gone = status(410, "Expired", "too old resource version")
    event = json.dumps({"type": "ERROR", "object": gone}) + "\n"
    cluster.fault = lambda method, path: (410, gone) if how == "answer" else (200, event)
    began = time.monotonic()
    connected.wait_for_change(RAYJOBS, "run-a", "7", 2)
    assert time.monotonic() - began >= 2
    assert len(cluster.requests) == 1


def test_a_patch_that_met_another_writer_is_repeated(
    cluster: FakeKubernetes, connected: Cluster
) -> None:
    play(HERE / "running", cluster)
    tries: list[str] = []

    def fault(method: str, path: str) -> tuple[int, Any] | None:
        tries.append(method)
        if tries.count("PATCH") > 1:
            return None
        return 409, status(409, "Conflict", "the object has been modified; please apply again")

    cluster.fault = fault
    connected.patch(RAYJOBS, "run-a", {"spec": {"suspend": True}})
    assert tries == ["PATCH", "PATCH"]
    assert cluster.get("rayjobs", "run-a")["spec"]["suspend"] is True


def test_a_delete_whose_answer_is_lost_is_done(cluster: FakeKubernetes, connected: Cluster) -> None:
    play(HERE / "running", cluster)
    uid = cluster.get("rayjobs", "run-a")["metadata"]["uid"]

    def fault(method: str, path: str) -> str | None:
        if "run-a" not in cluster.names("rayjobs"):
            return None
        cluster.remove("rayjobs", "run-a")
        return "drop"

    cluster.fault = fault
    connected.delete(RAYJOBS, "run-a", uid=uid)
    assert cluster.did("DELETE") == ["/apis/ray.io/v1/namespaces/team/rayjobs/run-a"] * 2


def test_a_delete_spares_another_object_of_the_same_name(
    cluster: FakeKubernetes, connected: Cluster
) -> None:
    play(HERE / "running", cluster)
    with pytest.raises(ClusterError, match="the UID differs"):
        connected.delete(RAYJOBS, "run-a", uid="of-the-one-before")
    assert cluster.names("rayjobs") == ["run-a"]


@pytest.mark.parametrize(
    ("message", "fix"),
    [
        (
            'rayjobs.ray.io "run-b" is forbidden: exceeded quota: runs, requested: '
            "count/rayjobs.ray.io=1, used: count/rayjobs.ray.io=5, limited: 5",
            "larger quota",
        ),
        (
            'rayjobs.ray.io "run-b" is forbidden: unable to create new content in namespace team '
            "because it is being terminated",
            "namespace is being deleted",
        ),
        (
            'admission webhook "policies.example.com" denied the request: no cost centre',
            "policy of the cluster",
        ),
        (
            "rayjobs.ray.io \"run-b\" is forbidden: ValidatingAdmissionPolicy 'cost' with binding "
            "'cost' denied request: no cost centre",
            "policy of the cluster",
        ),
        ('User "bo" cannot create resource "rayjobs"', "submitter role"),
    ],
)
def test_a_refusal_has_the_fix_that_fits(
    cluster: FakeKubernetes, connected: Cluster, message: str, fix: str
) -> None:
    cluster.fault = lambda method, path: (403, status(403, "Forbidden", message))
    with pytest.raises(ClusterError) as refused:
        connected.create(RAYJOBS, {"metadata": {"name": "run-b"}})
    assert message in refused.value.what
    assert fix in (refused.value.fix or "")
    assert len(cluster.requests) == 1  # not tried again


def recorded_refusals() -> list[tuple[str, int, str]]:
    """(what was asked, status, body) of all that a real API server refused."""
    found = []
    for file in sorted(need_recordings().glob("*/*.jsonl")):
        if file.name in ("actions.jsonl", "responses.jsonl", "portforward-403.jsonl"):
            for line in file.read_text().splitlines():
                answer = json.loads(line)
                body, code = answer.get("body"), int(answer.get("http") or 0)
                if isinstance(body, dict) and code >= 400:
                    found.append((answer.get("what") or answer["action"], code, json.dumps(body)))
    return found


def test_every_recorded_refusal_is_one_line_of_its_kind() -> None:
    answers = recorded_refusals()
    assert {code for _, code, _ in answers} == {400, 401, 403, 404, 409, 422}
    for what, code, body in answers:
        error = explain(code, body, "GET /apis/ray.io/v1/rayjobs", "team", "https://cluster")
        kind = {401: BadCredentials, 403: Forbidden}.get(code, ClusterError)
        if code == 409 and "already exists" in body:
            kind = AlreadyExists
        if code == 404 and "namespaces" not in body:
            kind = NotFound
        assert type(error) is kind, what
        assert "\n" not in str(error), what
        if code in (400, 422):
            assert json.loads(body)["message"].split()[-1] in error.what


def login(command: str, *arguments: str) -> dict[str, Any]:
    exec_ = {"apiVersion": "client.authentication.k8s.io/v1", "command": command}
    return {"exec": {**exec_, "args": list(arguments)}}


@pytest.mark.parametrize(
    ("user", "words"),
    [
        (login("no-such-login-command"), "No such file or directory: 'no-such-login-command'"),
        (login("sh", "-c", "echo the session has expired >&2; exit 1"), "the session has expired"),
    ],
    ids=["missing", "expired"],
)
def test_a_login_command_that_fails_is_one_line(
    cli: Cli, cluster: FakeKubernetes, tmp_path: Path, user: dict[str, Any], words: str
) -> None:
    file = tmp_path / "kubeconfig"
    given = json.loads(file.read_text())
    given["users"][0]["user"] = user
    file.write_text(json.dumps(given))
    result = cli("list")
    assert (result.code, result.out, result.err.count("\n")) == (1, "", 1)
    assert "the login command of context 'fake' failed" in result.err
    assert words in result.err
    assert cluster.requests == []


@pytest.mark.parametrize("text", ["a: [b", "- a\n", "\x00", "clusters: 7\n"], ids=repr)
def test_a_broken_kubeconfig_is_one_line(cli: Cli, tmp_path: Path, text: str) -> None:
    (tmp_path / "kubeconfig").write_text(text)
    result = cli("list")
    assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert "kubeconfig" in result.err or "KUBECONFIG" in result.err
