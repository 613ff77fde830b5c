"""Why pods are not ready, in words: from their status, the cluster's conditions and events. Pure.

Each cause shows in one place only: no room on nodes in the pod's PodScheduled condition; quota, Pod
Security and bad labels in the RayCluster's ReplicaFailure (no pod exists then); images in the first
init container; missing volumes in events alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One cause.

    Attributes:
        text: in words, the same for all pods it holds back.
        blocking: waiting alone does not help, or may take long; not just part of starting.
        fix: what to do, if anything.
    """

    text: str
    blocking: bool = True
    fix: str = ""


_CHOICES = {
    "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull",
    "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff",
}  # fmt: skip
_ADDS_NODES = {"TriggeredScaleUp", "Nominated"}
_ADDS_NONE = {"NotTriggerScaleUp", "FailedScaleUp"}
_DISRUPTIONS = {
    "PreemptionByScheduler": "a run of higher priority takes its place",
    "DeletionByTaintManager": "its node is being taken away",
    "EvictionByEvictionAPI": "its node is being drained",
    "DeletionByPodGC": "its node is gone",
    "TerminationByKubelet": "its node ran out of memory or disk, or shuts down",
}
_MOUNT_EVENTS = {"FailedMount", "FailedAttachVolume", "FailedCreatePodSandBox"}


def in_words(found: dict[Reason, list[str]]) -> list[str]:
    """Causes as lines, blocking ones first, each with how many pods it holds back."""
    ordered = sorted(found.items(), key=lambda item: not item[0].blocking)
    return [_counted(reason, roles) for reason, roles in ordered]


def reasons(
    pods: Iterable[Obj], events: Iterable[Obj], conditions: Iterable[Obj]
) -> dict[Reason, list[str]]:
    """Cause -> roles of the pods it holds back; empty for pods that could not be created."""
    found: dict[Reason, list[str]] = {}
    for condition in conditions:
        if condition["type"] == "ReplicaFailure" and condition["status"] == "True":
            found.setdefault(_not_created(condition), [])
    latest = _latest_by_pod(events)
    for pod in pods:
        reason = _of_pod(pod, latest.get(pod["metadata"]["name"], []))
        if reason is not None:
            found.setdefault(reason, []).append(role(pod))
    return found


def role(pod: Obj) -> str:
    """'head' or 'worker'."""
    return str(pod["metadata"].get("labels", {}).get("ray.io/node-type", "worker"))


def is_ready(pod: Obj) -> bool:
    """Ready and not leaving."""
    conditions = pod.get("status", {}).get("conditions") or []
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def _not_created(condition: Obj) -> Reason:
    message = str(condition.get("message", "")).partition("\n")[2] or str(condition.get("message"))
    who = "head" if "Head" in str(condition.get("reason")) else "worker"
    quota = re.search(
        r"exceeded quota: (\S+), requested: (.+), used: (.+), limited: (.+)$", message
    )
    if quota:
        name, requested, used, limited = quota.groups()
        return Reason(
            text=f"quota '{name}' leaves no room for a {who} pod: it asks {requested}; "
            f"{used} of {limited} are used",
            fix="Wait for other runs to end, ask for a larger quota, or use fewer workers.",
        )
    if "violates PodSecurity" in message:
        rule = message.partition("violates PodSecurity ")[2]
        return Reason(text=f"Pod Security refuses the {who} pod: {rule[:300]}")
    text = re.sub(r'^[Pp]ods? "[^"]*" is (forbidden|invalid): ', "", message)
    return Reason(text=f"the {who} pod cannot be created: {text[:300]}")


def _of_pod(pod: Obj, events: list[Obj]) -> Reason | None:
    status = pod.get("status", {})
    if is_ready(pod) or status.get("phase") == "Succeeded":
        return None
    if "deletionTimestamp" in pod["metadata"]:
        why = why_leaving(pod)
        return Reason(text=f"leaving its node{f': {why}' if why else ''}", blocking=False)
    for condition in status.get("conditions") or []:
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            if condition.get("reason") == "SchedulingGated":
                return Reason(text="held back by a scheduling gate: its queue lets it in later")
            return _unscheduled(str(condition.get("message", "")), events)
    if status.get("phase") == "Failed":
        return Reason(text=f"failed: {status.get('reason') or 'its container ended'}")
    containers = [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _CHOICES:
            return _waiting(container, waiting)
    for event in events:
        if event.get("reason") in _MOUNT_EVENTS:
            return Reason(text=f"cannot start: {_shorten(event['message'])}")
    for container in status.get("initContainerStatuses") or []:
        if "running" in (container.get("state") or {}):
            return Reason(text="waits for the head", blocking=False)
    return Reason(text="starting", blocking=False)


def _unscheduled(message: str, events: list[Obj]) -> Reason:
    # Of all that an autoscaler has said of the pod, its last word counts.
    last = next((e for e in events if _autoscaler_says(e)), None)
    if "unbound immediate PersistentVolumeClaims" in message:
        return Reason(text="its volume is not there yet")
    text = re.sub(r"^\d+/(\d+) nodes are available: ", "", message)
    text = re.split(r"\. (?:no new claims|preemption)|, no new claims| preemption:", text)[0]
    text = f"no node has room: {text.strip().rstrip('.')}"
    if last is not None and last["reason"] in _ADDS_NODES:
        return Reason(text=f"{text}; a node is being added", blocking=False)
    if last is not None:
        return Reason(text=f"{text}; the autoscaler adds none: {_shorten(last['message'])}")
    return Reason(text=text, fix="`vidgen-cloud pools` shows who uses them.")


def _autoscaler_says(event: Obj) -> bool:
    """Of the cluster autoscaler, or of Karpenter, which shares a reason with the scheduler."""
    if event.get("reason") == "FailedScheduling":
        source = (event.get("source") or {}).get("component")
        return "karpenter" in (event.get("reportingComponent"), source)
    return event.get("reason") in _ADDS_NODES | _ADDS_NONE


def why_leaving(pod: Obj) -> str:
    """From the pod's DisruptionTarget, in words; '' when nothing says why."""
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "DisruptionTarget" and condition["status"] == "True":
            reason = str(condition.get("reason", ""))
            return _DISRUPTIONS.get(reason) or _shorten(str(condition.get("message") or reason))
    return ""


def _waiting(container: Obj, waiting: Obj) -> Reason:
    reason, message = waiting["reason"], str(waiting.get("message", ""))
    image = str(container.get("image", ""))
    if "Image" in reason:
        named = re.search(r'image "([^"]+)"', message)
        cause = "it does not exist" if "not found" in message else _shorten(message)
        if "unauthorized" in message.lower() or "denied" in message.lower():
            cause = "the registry refuses: wrong or missing pull secret"
        return Reason(
            text=f"image {named[1] if named else image} cannot be pulled: {cause}",
            fix="Check the image's name and tag on the platform.",
        )
    if reason == "CrashLoopBackOff":
        last = ((container.get("lastState") or {}).get("terminated")) or {}
        ended = f", exit code {last['exitCode']}" if "exitCode" in last else ""
        return Reason(
            text=f"container {container['name']} crashes again and again "
            f"({container.get('restartCount', 0)} restarts{ended})",
            fix="`vidgen-cloud logs NAME --previous` shows its last words.",
        )
    return Reason(text=f"cannot start: {_shorten(message) or reason}")


def _latest_by_pod(events: Iterable[Obj]) -> dict[str, list[Obj]]:
    """Events of each object, newest first."""
    grouped: dict[str, list[Obj]] = {}
    for event in sorted(events, key=event_time, reverse=True):
        grouped.setdefault(str(event["involvedObject"].get("name", "")), []).append(event)
    return grouped


def event_time(event: Obj) -> str:
    """When it last happened; KubeRay fills eventTime, the kubelet lastTimestamp."""
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    return next((str(t) for t in times if t), str(event["metadata"].get("creationTimestamp", "")))


def _counted(reason: Reason, roles: list[str]) -> str:
    who = ", ".join(
        f"{roles.count(r)} {r} pods" if roles.count(r) > 1 else f"{r} pod"
        for r in ("head", "worker")
        if r in roles
    )
    text = f"{who}: {reason.text}" if who else reason.text
    return f"{text}. {reason.fix}" if reason.fix else text


def _shorten(message: str) -> str:
    return " ".join(message.split())[:300]
