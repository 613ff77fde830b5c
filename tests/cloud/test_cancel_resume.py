"""cancel, resume, delete: nothing lost, nothing left, and never two writers of one run folder."""

from __future__ import annotations

import json
import threading
import time

import pytest
from cloud_setup import Cli
from crd_schemas import problems
from fake_kubernetes import FakeKubernetes, status
from fake_operator import TOKEN, FakeOperator

import vidgen.cloud.commands.logs
import vidgen.cloud.follow
import vidgen.cloud.stopping
from vidgen.storage.open import open_store


def test_cancel_saves_waits_and_confirms(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    result = cli("cancel", "run-a")
    assert result.code == 0
    assert ("POST", "/api/jobs/run-a-j/stop", f"Bearer {TOKEN}") in running.asked
    assert "its GPUs are free" in result.err
    assert cluster.names("pods") == []
    assert cluster.names("rayjobs") == ["run-a"]
    assert cli("cancel", "run-a").err.startswith("run-a had already ended: cancelled")


def test_cancel_now_suspends(cli: Cli, cluster: FakeKubernetes, running: FakeOperator) -> None:
    result = cli("cancel", "run-a", "--now")
    assert result.code == 0
    assert not any(method == "POST" for method, *_ in running.asked)
    assert cluster.get("rayjobs", "run-a")["spec"]["suspend"] is True
    assert "run-a: cancelled" in result.out
    assert cluster.names("pods") == []


def test_cancel_of_a_run_that_waits_needs_no_head(
    cli: Cli, cluster: FakeKubernetes, operator: FakeOperator, config: str, store_url: str
) -> None:
    cli("submit", config, "--pool", "a100", "--name", "run-a")
    assert cli("cancel", "run-a").code == 0
    assert operator.asked == []
    assert cli("status", "run-a").out.splitlines()[1] == "state      cancelled"


def test_cancel_outlasts_an_api_server_that_is_away(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    """It goes away right after the stop was asked for."""
    failures: list[str] = []

    def fault(method: str, path: str) -> str | None:
        if running.asked and "rayjobs" in path and len(failures) < 8:
            failures.append(path)
            return "drop"
        return None

    cluster.fault = fault
    result = cli("cancel", "run-a")
    assert (result.code, len(failures)) == (0, 8)
    assert "waiting for the cluster: cannot reach" in result.err
    assert "its GPUs are free" in result.err
    assert sum(method == "POST" for method, *_ in running.asked) == 1


def test_cancel_without_the_token_stops_nothing_and_says_how(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    answer = status(403, "Forbidden", "secrets is forbidden")
    cluster.fault = lambda method, path: (403, answer) if "/secrets/" in path else None
    result = cli("cancel", "run-a")
    assert result.code == 1
    assert "--now" in result.err
    assert not cluster.get("rayjobs", "run-a")["spec"].get("suspend")
    assert running.asked == []


def test_cancel_that_does_not_end_says_what_is_left(
    cli: Cli, running: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.on_stop = lambda: None
    monkeypatch.setattr(vidgen.cloud.stopping, "longest_stop_s", lambda snapshot: 0.1)
    result = cli("cancel", "run-a")
    assert result.code == 1
    assert "still running; pods: run-a-x1-head, run-a-x1-worker" in result.err


def test_cancel_under_kueue_uses_its_switch(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    job = cluster.get("rayjobs", "run-a")
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    labels = {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}
    cluster.put(
        "workloads",
        {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "metadata": {"name": "w", "labels": labels},
            "spec": {"active": True},
        },
    )

    def kueue() -> None:
        while cluster.get("workloads", "w")["spec"]["active"]:
            time.sleep(0.02)
        job = cluster.get("rayjobs", "run-a")
        cluster.put("rayjobs", {**job, "status": {"jobDeploymentStatus": "Suspended"}})
        running.clear_pods("run-a")

    threading.Thread(target=kueue, daemon=True).start()
    assert cli("cancel", "run-a", "--now").code == 0
    assert "suspend" not in cluster.get("rayjobs", "run-a")["spec"]


def test_resume_makes_a_new_rayjob_on_the_same_folder(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, store_url: str
) -> None:
    assert cli("resume", "run-a").code == 1  # it runs
    cli("cancel", "run-a")
    result = cli("resume", "run-a", "--pool", "v100-spot", "--workers", "4")
    assert result.code == 0
    assert cluster.names("rayjobs") == ["run-a", "run-a-r2"]
    made = cluster.get("rayjobs", "run-a-r2")
    assert f"run={store_url}/runs/run-a" in made["spec"]["entrypoint"]
    assert "--workers 4" in made["spec"]["entrypoint"]
    assert problems(made) == []
    # One run for people: list, status and logs speak of the newest submission.
    (row,) = json.loads(cli("list", "--json").out)
    assert (row["run"], row["pool"]) == ("run-a", "v100-spot")
    running.run("run-a-r2")
    assert json.loads(cli("status", "run-a", "--json").out)["rayjob"] == "run-a-r2"
    assert cli("cancel", "run-a").code == 0
    assert cli("delete", "run-a", "--yes").code == 0
    assert cluster.names("rayjobs") == []


def test_cost_is_of_all_submissions(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour on eight GPUs before the resume and a half on four after it."""
    running.end(
        "run-a", jobDeploymentStatus="Complete", jobStatus="STOPPED", endTime="2026-11-21T00:00:16Z"
    )
    assert cli("resume", "run-a", "--workers", "4").code == 0
    running.run("run-a-r2")
    running.end(
        "run-a-r2",
        jobDeploymentStatus="Complete",
        jobStatus="SUCCEEDED",
        endTime="2026-11-20T23:30:16Z",
    )
    told = json.loads(cli("status", "run-a", "--json").out)
    assert told["gpu_hours"] == 10
    assert told["cost"] == pytest.approx(1.25 * 32.77, abs=0.01)
    assert "10 GPU-hours, about 40.96 USD" in cli("status", "run-a").out


def test_resume_of_a_suspended_run_lets_it_go_on(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    cli("cancel", "run-a", "--now")
    assert cli("resume", "run-a").code == 0
    job = cluster.get("rayjobs", "run-a")
    assert job["spec"]["suspend"] is False
    assert "vidgen.dev/cancelled" not in job["metadata"]["annotations"]
    assert cluster.names("rayjobs") == ["run-a"]


def test_resume_of_a_suspended_run_elsewhere_leaves_one_rayjob(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    cli("cancel", "run-a", "--now")
    assert cli("resume", "run-a", "--workers", "16").code == 0
    assert cluster.names("rayjobs") == ["run-a-r2"]


def test_resume_waits_until_the_last_attempts_pods_are_gone(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    """A run past its deadline trains on for a while: two writers would damage the folder."""

    running._status("run-a", jobDeploymentStatus="Failed", reason="DeadlineExceeded")
    threading.Timer(0.5, running.clear_pods, ["run-a"]).start()
    result = cli("resume", "run-a")
    assert result.code == 0
    assert "Waiting for the last attempt's pods" in result.err
    assert cluster.names("pods") == []


def test_resume_of_a_finished_run_is_refused(cli: Cli, running: FakeOperator) -> None:
    running.end("run-a", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    result = cli("resume", "run-a")
    assert result.code == 1
    assert "has finished all its steps" in result.err


def test_delete_asks_and_spares_a_running_run(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, store_url: str
) -> None:
    refused = cli("delete", "run-a", "--yes")
    assert refused.code == 1
    assert "vidgen-cloud cancel run-a" in refused.err
    assert cluster.names("rayjobs") == ["run-a"]
    open_store(f"{store_url}/runs/run-a").write("config.yaml", b"name: a\n")
    assert cli("delete", "run-a", "--yes", "--force").code == 0
    assert cluster.names("rayjobs") == []
    assert open_store(f"{store_url}/runs/run-a").read("config.yaml") == b"name: a\n"
