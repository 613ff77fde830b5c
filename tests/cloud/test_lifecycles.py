"""Hand-written lifecycles of the recordings' shape, for clones without recordings."""

from __future__ import annotations

import json

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes
from replay import HERE, play

from vidgen.cloud.names import CANCELLED, QUEUE_LABEL
from vidgen.cloud.state import Snapshot, interpret
from vidgen.cloud.stopping import longest_stop_s

LIFECYCLES = [
    ("running", "running", "running", 0),
    ("succeeded", "succeeded", "succeeded", 0),
    ("failed-by-the-app", "failed", "exit code 1: error: loss is NaN at step 41", 1),
    ("cancelled", "cancelled", "the program was stopped", 0),
    ("pending-quota", "pending", "it asks requests.nvidia.com/gpu=8", 0),
    ("refused", "refused", "minReplicas 3 greater than maxReplicas 1", 1),
    ("retrying", "starting", "0 of 2 pods ready (attempt 2: 1 failed)", 0),
    ("past-deadline", "failed", "longer than its limit of 100 s, reached while running", 1),
    ("paused", "paused", "vidgen-cloud resume", 0),
]


@pytest.mark.parametrize(
    ("name", "phase", "words", "code"), LIFECYCLES, ids=[x[0] for x in LIFECYCLES]
)
def test_status(
    cli: Cli, cluster: FakeKubernetes, name: str, phase: str, words: str, code: int
) -> None:
    play(HERE / name, cluster)
    shown = cli("status", "run-a")
    assert words in shown.out
    assert (json.loads(cli("status", "run-a", "--json").out)["phase"], shown.code) == (phase, code)
    assert {method for method, *_ in cluster.requests} == {"GET"}


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("succeeded", 0),
        ("failed-by-the-app", 1),
        ("cancelled", 130),
        ("paused", 130),
        ("refused", 1),
    ],
)
def test_watching_ends_with_the_outcome(
    cli: Cli, cluster: FakeKubernetes, name: str, code: int
) -> None:
    play(HERE / name, cluster)
    assert cli("status", "run-a", "--watch").code == code
    told = cli("status", "run-a", "--watch", "--json")
    assert (told.code, json.loads(told.out)["run"]) == (code, "run-a")


def test_a_ready_head_is_needed_to_believe_running(cluster: FakeKubernetes) -> None:
    play(HERE / "running", cluster)
    job, head = cluster.get("rayjobs", "run-a"), cluster.get("pods", "run-a-x1-head-p1")
    assert interpret(Snapshot(rayjob=job, pods=[head])).phase == "running"
    leaving = {
        **head,
        "metadata": {**head["metadata"], "deletionTimestamp": "2026-11-20T23:09:00Z"},
    }
    assert interpret(Snapshot(rayjob=job, pods=[leaving])).phase == "recovering"
    assert interpret(Snapshot(rayjob=job, pods=[], pods_known=False)).phase == "running"


def test_cost_is_counted_while_pods_are_held_and_stops_at_the_end(
    cli: Cli, cluster: FakeKubernetes
) -> None:
    play(HERE / "succeeded", cluster)
    told = json.loads(cli("status", "run-a", "--json").out)
    assert told["held_s"] == 584  # 23:00:16 all pods ready, 23:10:00 end
    assert told["gpu_hours"] == pytest.approx(8 * 584 / 3600, abs=0.01)
    assert told["cost"] == pytest.approx(32.77 * 584 / 3600, abs=0.01)


def workload(condition: str, state: str, message: str, **spec: bool) -> dict[str, object]:
    return {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "metadata": {
            "name": "rayjob-run-a",
            "labels": {"kueue.x-k8s.io/job-uid": "11111111-0000-0000-0000-000000000001"},
        },
        "spec": spec,
        "status": {"conditions": [{"type": condition, "status": state, "message": message}]},
    }


@pytest.mark.parametrize(
    ("made", "phase", "words"),
    [
        (
            workload(
                "QuotaReserved", "False", "couldn't assign flavors to pod set gpu: 8 more needed"
            ),
            "queued",
            "queued in gpus: couldn't assign flavors to pod set gpu: 8 more needed",
        ),
        (workload("Evicted", "True", "Preempted to make room"), "queued", "Preempted to make room"),
        (workload("Admitted", "True", "The workload is admitted"), "starting", "admitted by Kueue"),
        (workload("QuotaReserved", "False", "", active=False), "paused", "not active"),
    ],
)
def test_kueue_says_why_a_run_waits(
    cli: Cli, cluster: FakeKubernetes, made: dict[str, object], phase: str, words: str
) -> None:
    play(HERE / "paused", cluster)
    job = cluster.get("rayjobs", "run-a")
    job["metadata"]["labels"][QUEUE_LABEL] = "gpus"
    cluster.put("workloads", made)
    assert words in cli("status", "run-a").out
    assert json.loads(cli("status", "run-a", "--json").out)["phase"] == phase


def test_kueue_queue_without_workload(cli: Cli, cluster: FakeKubernetes) -> None:
    play(HERE / "paused", cluster)
    cluster.get("rayjobs", "run-a")["metadata"]["labels"][QUEUE_LABEL] = "gpus"
    cluster.groups.discard("kueue.x-k8s.io")
    assert "queued in gpus: Kueue has not looked at it yet" in cli("status", "run-a").out


def test_a_suspended_run_that_was_cancelled_is_cancelled(cluster: FakeKubernetes) -> None:
    play(HERE / "paused", cluster)
    job = cluster.get("rayjobs", "run-a")
    job["metadata"]["annotations"][CANCELLED] = "2026-11-20T23:02:00+00:00"
    assert interpret(Snapshot(rayjob=job)).phase == "cancelled"
    pod = {"metadata": {"name": "p", "labels": {}}, "status": {}}
    assert interpret(Snapshot(rayjob=job, pods=[pod])).phase == "stopping"


def test_a_state_from_the_future_is_told_as_it_is(cluster: FakeKubernetes) -> None:
    play(HERE / "running", cluster)
    job = cluster.get("rayjobs", "run-a")
    job["status"]["jobDeploymentStatus"] = "Levitating"
    state = interpret(Snapshot(rayjob=job))
    assert "Levitating" in state.text
    assert not state.terminal


def test_patience_covers_saving_ttl_and_grace(cluster: FakeKubernetes) -> None:
    play(HERE / "running", cluster)
    job = cluster.get("rayjobs", "run-a")
    assert longest_stop_s(Snapshot(rayjob=job)) == 5 + 1 + 30 + 60
