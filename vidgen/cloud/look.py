"""One look at the cluster: everything `state` needs to know of a run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from vidgen.cloud.names import QUEUE_LABEL, RUN_LABEL, SELECTOR, check_selector
from vidgen.cloud.state import Snapshot, attempt_of, run_label, run_of
from vidgen.cloud.why import Obj, is_ready
from vidgen.errors import ClusterError, did_you_mean

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster

WORKLOADS = ("apis/kueue.x-k8s.io/v1beta2/workloads", "apis/kueue.x-k8s.io/v1beta1/workloads")
_ENDED = ("Complete", "ValidationFailed")
_MOST_PODS_EXPLAINED = 4  # pods of a run wait for the same reasons; each costs a request


def attempts_of(cluster: Cluster, run: str) -> list[Obj]:
    """RayJobs of a run that vidgen-cloud made, oldest attempt first; empty when there are none."""
    from vidgen.cloud.cluster import RAYJOBS

    found = cluster.list(RAYJOBS, labels=f"{RUN_LABEL}={check_selector(run)}")
    return sorted((job for job in found if run_of(job) == run), key=attempt_of)


def rayjobs_of(cluster: Cluster, run: str) -> list[Obj]:
    """All RayJobs of a run, oldest attempt first. Raises ClusterError with the nearest name."""
    from vidgen.cloud.cluster import RAYJOBS
    from vidgen.cloud.refusals import NotFound

    found = attempts_of(cluster, run)
    if not found:
        try:
            found = [cluster.get(RAYJOBS, run)]
        except NotFound:
            names = {run_of(job) for job in cluster.list(RAYJOBS, labels=SELECTOR)}
            raise NotFound(
                f"no run '{run}' in namespace '{cluster.namespace}'{did_you_mean(run, names)}",
                fix="`vidgen-cloud list` shows all; --namespace looks elsewhere.",
            ) from None
    return found


def newest(cluster: Cluster, run: str) -> Obj:
    """The RayJob of a run's latest submission."""
    return rayjobs_of(cluster, run)[-1]


def look(cluster: Cluster, run: str) -> Snapshot:
    """A run as it is now."""
    *earlier, job = rayjobs_of(cluster, run)
    return replace(look_at(cluster, job), earlier=earlier)


def look_at(cluster: Cluster, rayjob: Obj, pods: list[Obj] | None = None) -> Snapshot:
    """The rest of the picture for a RayJob at hand; `pods` if they are known already."""
    from vidgen.cloud.cluster import PODS
    from vidgen.cloud.refusals import Forbidden

    known = True
    if pods is None:
        try:
            pods = cluster.list(PODS, labels=f"{RUN_LABEL}={run_label(rayjob)}")
        except Forbidden:
            pods, known = [], False
    return Snapshot(
        rayjob=rayjob,
        pods=pods,
        pods_known=known,
        events=_events(cluster, rayjob, pods),
        workload=_workload(cluster, rayjob),
    )


def _events(cluster: Cluster, rayjob: Obj, pods: list[Obj]) -> list[Obj]:
    """Events of pods that are not ready. Empty when this user may not read them."""
    from vidgen.cloud.cluster import EVENTS
    from vidgen.cloud.refusals import Forbidden

    status = rayjob.get("status") or {}
    if status.get("jobDeploymentStatus") in (None, "", *_ENDED):
        return []
    waiting = [p["metadata"]["name"] for p in pods if not is_ready(p)][:_MOST_PODS_EXPLAINED]
    try:
        return [
            event
            for name in waiting
            for event in cluster.list(EVENTS, fields=f"involvedObject.name={name}")
        ]
    except Forbidden:
        return []


def _workload(cluster: Cluster, rayjob: Obj) -> Obj | None:
    if QUEUE_LABEL not in (rayjob["metadata"].get("labels") or {}):
        return None
    for kind in WORKLOADS:
        try:
            found = cluster.list(kind, labels=f"kueue.x-k8s.io/job-uid={rayjob['metadata']['uid']}")
        except ClusterError:
            continue  # another version, or no right to look: then the RayJob alone has to tell
        return found[0] if found else None
    return None
