"""Why a run waits or loses pods, where no recording has it: autoscalers, queues, disruptions."""

from __future__ import annotations

from typing import Any

import pytest

from vidgen.cloud.state import Snapshot, interpret
from vidgen.cloud.why import reasons

NO_ROOM = {
    "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
    "message": "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes",
}  # fmt: skip


def pod(*conditions: dict[str, str], role: str = "worker", leaving: bool = False) -> dict[str, Any]:
    labels = {"ray.io/node-type": role, "ray.io/cluster": "c"}
    meta: dict[str, Any] = {"name": f"run-a-{role}", "labels": labels}
    if leaving:
        meta["deletionTimestamp"] = "2026-11-21T00:00:00Z"
    return {"metadata": meta, "status": {"phase": "Pending", "conditions": list(conditions)}}


def event(reason: str, message: str, minute: int, component: str = "") -> dict[str, Any]:
    return {
        "metadata": {"creationTimestamp": f"2026-11-21T00:{minute:02d}:00Z"},
        "involvedObject": {"name": "run-a-worker"},
        "reason": reason, "message": message, "reportingComponent": component,
        "source": {"component": component},
    }  # fmt: skip


SCHEDULER = event("FailedScheduling", "0/3 nodes are available", 9, "default-scheduler")
SCALES = event("TriggeredScaleUp", "pod triggered scale-up: [{pool-a100 0->1 (max: 4)}]", 1)


@pytest.mark.parametrize(
    ("events", "words", "blocking"),
    [
        ([SCHEDULER], "3 Insufficient nvidia.com/gpu", True),
        ([SCHEDULER, SCALES], "a node is being added", False),
        (
            [SCALES, event("FailedScaleUp", "in zone us-central1-a: GCE out of resources", 4)],
            "the autoscaler adds none: in zone us-central1-a: GCE out of resources",
            True,
        ),
        (
            [event("NotTriggerScaleUp", "max node group size reached", 3)],
            "the autoscaler adds none: max node group size reached",
            True,
        ),
        ([event("NotTriggerScaleUp", "in backoff", 0), SCALES], "a node is being added", False),
        (
            [event("Nominated", "Pod should schedule on: nodeclaim/a100-x7", 2, "karpenter")],
            "a node is being added",
            False,
        ),
        (
            [event("FailedScheduling", "no instance type has enough resources", 2, "karpenter")],
            "the autoscaler adds none: no instance type has enough resources",
            True,
        ),
    ],
)
def test_the_autoscalers_last_word_counts(
    events: list[dict[str, Any]], words: str, blocking: bool
) -> None:
    ((reason, roles),) = reasons([pod(NO_ROOM)], events, []).items()
    assert words in reason.text
    assert (reason.blocking, roles) == (blocking, ["worker"])


def test_a_gated_pod_waits_for_its_queue_not_for_a_node() -> None:
    gated = {**NO_ROOM, "reason": "SchedulingGated", "message": "non-empty scheduling gates"}
    (reason,) = reasons([pod(gated)], [], [])
    assert "scheduling gate" in reason.text
    assert "no node" not in reason.text


@pytest.mark.parametrize(
    ("disruption", "words"),
    [
        ("PreemptionByScheduler", "a run of higher priority takes its place"),
        ("DeletionByTaintManager", "its node is being taken away"),
        ("SomethingNew", "as told"),
    ],
)
def test_a_leaving_worker_says_what_takes_it_away(disruption: str, words: str) -> None:
    target = {
        "type": "DisruptionTarget", "status": "True", "reason": disruption, "message": "as told",
    }  # fmt: skip
    head = pod({"type": "Ready", "status": "True"}, role="head")
    job = {
        "metadata": {"name": "run-a"},
        "spec": {"rayClusterSpec": {"workerGroupSpecs": [{"replicas": 1}]}},
        "status": {
            "jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "rayClusterName": "c",
        },
    }  # fmt: skip
    state = interpret(Snapshot(rayjob=job, pods=[head, pod(target, leaving=True)]))
    assert (state.phase, state.reasons) == ("running", [f"leaving: run-a-worker ({words})"])
