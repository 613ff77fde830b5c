"""What `vidgen-cloud doctor` says of queues, and of what cannot live with them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from vidgen.cloud.findings import Finding, failure, ok, warning
from vidgen.cloud.names import QUEUE_LABEL
from vidgen.cloud.platform import Platform
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster


def check_queue(cluster: Cluster, platform: Platform) -> Iterator[Finding]:
    """Kueue, when the platform uses it."""
    from vidgen.cloud.refusals import NotFound

    if not platform.queue:
        yield ok("queue", "no Kueue: runs start when nodes are free")
        return
    for version in ("v1beta2", "v1beta1"):
        try:
            queue = cluster.get(f"apis/kueue.x-k8s.io/{version}/localqueues", platform.queue)
        except NotFound:
            yield failure(
                "queue",
                f"LocalQueue '{platform.queue}' is not in namespace {cluster.namespace}",
                "Set queue in the chart's values to one of `kubectl get localqueues`.",
            )
            return
        except ClusterError:
            continue
        status = queue.get("status") or {}
        pending = status.get("pendingWorkloads", 0)
        for condition in status.get("conditions") or []:
            if condition["type"] == "Active" and condition["status"] == "False":
                yield failure(
                    "queue",
                    f"LocalQueue {platform.queue} admits nothing: {condition.get('message', '')}",
                    "`kubectl describe clusterqueue` tells which quota or flavour is missing.",
                )
                return
        yield ok("queue", f"LocalQueue {platform.queue}, {pending} runs wait in it")
        return
    yield warning(
        "queue",
        f"LocalQueue '{platform.queue}' cannot be read by this user, or Kueue is not installed",
        "`kubectl get localqueues` tells which.",
    )


def check_deletion_rules(cluster: Cluster, platform: Platform) -> Iterator[Finding]:
    """RayJobs here that end by deletion rules, which exclude the shutdown and TTL that Kueue and
    suspending need; no rule matches a job that was stopped."""
    from vidgen.cloud.cluster import RAYJOBS

    try:
        jobs = cluster.list(RAYJOBS)
    except ClusterError:
        yield warning(
            "deletion rules",
            "RayJobs cannot be listed by this user",
            "Ask for the chart's submitter role.",
        )
        return
    ruled = {
        job["metadata"]["name"]: QUEUE_LABEL in (job["metadata"].get("labels") or {})
        for job in jobs
        if (job["spec"].get("deletionStrategy") or {}).get("deletionRules")
    }
    queued = sorted(name for name, waits in ruled.items() if waits or platform.queue)
    fix = (
        "Take deletionStrategy out of them; shutdownAfterJobFinishes and ttlSecondsAfterFinished "
        "end a run in every case."
    )
    if queued:
        yield failure(
            "deletion rules",
            f"RayJobs under Kueue end by deletion rules, so they keep their quota: "
            f"{', '.join(queued)}",
            fix,
        )
    elif ruled:
        yield warning(
            "deletion rules",
            f"no rule ends a RayJob that was stopped: {', '.join(sorted(ruled))}",
            fix,
        )
    else:
        yield ok("deletion rules", "none: runs end by shutdown and TTL")
