"""End a run and be sure of it: the program saves, the pods leave, the GPUs are free."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from vidgen.cloud.look import WORKLOADS, look
from vidgen.cloud.names import CANCELLED
from vidgen.cloud.ray_jobs import RayJobs
from vidgen.cloud.state import Snapshot, State, interpret
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster

Say = Callable[[str], None]
_POLL_S = 2.0
_MARGIN_S = 60.0


def cancel(cluster: Cluster, run: str, *, now: bool, say: Say) -> State:
    """Stop a run; returns its state once it is settled and its pods are gone.

    A running program gets SIGTERM and its time to write a checkpoint; with `now`, and where nothing
    runs yet, the RayJob is suspended: its pods leave at once.

    Raises ClusterError when it cannot be stopped, or when pods stay.
    """
    snapshot = look(cluster, run)
    state = interpret(snapshot)
    if state.terminal and not state.holds_pods:
        say(f"{run} had already ended: {state.text}.")
        return state
    if not state.terminal:
        if state.phase == "running" and not now:
            say("Asking the program to save a checkpoint and stop ...")
            _ask_to_stop(cluster, snapshot, run)
        else:
            suspend(cluster, snapshot)
            say("Suspended: its pods are leaving.")
    state = wait_until(cluster, snapshot, lambda s: s.settled and not s.holds_pods, say)
    say("No pods are left: its GPUs are free.")
    return state


def _ask_to_stop(cluster: Cluster, snapshot: Snapshot, run: str) -> None:
    try:
        RayJobs(cluster, snapshot).stop()
    except ClusterError as error:
        raise ClusterError(
            f"run '{run}' could not be asked to save and stop: {error.what}",
            fix=f"{error.fix or ''} `vidgen-cloud cancel {run} --now` stops it without asking: it "
            "goes back to its last checkpoint.".lstrip(),
        ) from None


def suspend(cluster: Cluster, snapshot: Snapshot) -> None:
    """Take the pods away and mark the run as cancelled, in one request."""
    from vidgen.cloud.cluster import RAYJOBS

    meta = snapshot.rayjob["metadata"]
    stamp = datetime.now(timezone.utc).isoformat(timespec="seconds")
    patch: dict[str, Any] = {"metadata": {"annotations": {CANCELLED: stamp}}}
    if snapshot.workload is None:
        patch["spec"] = {"suspend": True}
    else:
        # Kueue owns `suspend` and would take it back: its own switch is the Workload's.
        name = snapshot.workload["metadata"]["name"]
        kind = next(k for k in WORKLOADS if snapshot.workload["apiVersion"] in k)
        cluster.patch(kind, name, {"spec": {"active": False}})
    cluster.patch(RAYJOBS, meta["name"], patch)


def unsuspend(cluster: Cluster, snapshot: Snapshot) -> None:
    """Let a suspended RayJob go on: the same entrypoint, so the last checkpoint."""
    from vidgen.cloud.cluster import RAYJOBS

    name = snapshot.rayjob["metadata"]["name"]
    patch: dict[str, Any] = {"metadata": {"annotations": {CANCELLED: None}}}
    if snapshot.workload is None:
        patch["spec"] = {"suspend": False}
    else:
        kind = next(k for k in WORKLOADS if snapshot.workload["apiVersion"] in k)
        cluster.patch(kind, snapshot.workload["metadata"]["name"], {"spec": {"active": True}})
    cluster.patch(RAYJOBS, name, patch)


def wait_until(
    cluster: Cluster, snapshot: Snapshot, done: Callable[[State], bool], say: Say
) -> State:
    """Look at a run, last seen as `snapshot`, until `done`; says each change.

    Raises ClusterError when it takes too long. A cluster out of reach is waited for: whatever was
    asked of it goes on.
    """
    from vidgen.cloud.refusals import BadCredentials, Forbidden, NotFound

    run = interpret(snapshot).run
    deadline = time.monotonic() + longest_stop_s(snapshot)
    said = ""
    while True:
        try:
            snapshot = look(cluster, run)
        except (NotFound, Forbidden, BadCredentials):
            raise
        except ClusterError as error:
            if time.monotonic() > deadline:
                raise
            now = f"waiting for the cluster: {error.what}"
        else:
            state = interpret(snapshot)
            if done(state):
                return state
            held = f", {len(snapshot.pods)} pods left" if state.holds_pods else ""
            now = f"{state.text}{held}"
        if now != said:
            said = now
            say(f"  {said}")
        if time.monotonic() > deadline:
            names = ", ".join(p["metadata"]["name"] for p in snapshot.pods)
            raise ClusterError(
                f"run '{run}' is still {interpret(snapshot).text}; pods: {names or 'none'}",
                fix="`vidgen-cloud cancel --now` takes its pods away; if they stay, ask whoever "
                "runs the cluster about their node.",
            )
        time.sleep(_POLL_S)


def longest_stop_s(snapshot: Snapshot) -> float:
    """Seconds a stop may take: time to save, the TTL that keeps pods, their grace, some margin."""
    spec = snapshot.rayjob["spec"]
    cluster = spec["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *(cluster.get("workerGroupSpecs") or [])]
    pods = [group["template"]["spec"] for group in groups]
    grace = max(int(pod.get("terminationGracePeriodSeconds") or 30) for pod in pods)
    env = {e["name"]: e.get("value") for e in pods[0]["containers"][0].get("env") or []}
    save = int(env.get("RAY_JOB_STOP_WAIT_TIME_S") or 3)
    return save + int(spec.get("ttlSecondsAfterFinished") or 0) + grace + _MARGIN_S
