"""What a run is doing, from what the cluster says. Pure: Snapshot -> State.

jobDeploymentStatus decides; jobStatus only splits Complete. Running/RUNNING is believed only with a
ready head, since KubeRay says so for half a minute after a head is lost.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any, Literal

from vidgen.cloud.names import ANNOTATION, CANCELLED, QUEUE_LABEL, RUN_LABEL, rayjob_name
from vidgen.cloud.why import Obj, in_words, is_ready, reasons, role, why_leaving

Phase = Literal[
    "submitted", "queued", "starting", "pending", "running", "recovering", "retrying",
    "stopping", "deleting", "paused", "succeeded", "failed", "cancelled", "refused",
]  # fmt: skip
TERMINAL: frozenset[str] = frozenset({"succeeded", "failed", "cancelled", "refused"})


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Everything one look at the cluster shows of a run.

    Attributes:
        rayjob: the RayJob.
        pods: of the run, of all attempts.
        events: of its RayCluster and its pods that are not ready.
        workload: Kueue's Workload, if there is one.
        pods_known: False when this user may not list pods.
        earlier: RayJobs of the run's submissions before this one.
    """

    rayjob: Obj
    pods: list[Obj] = field(default_factory=list)
    events: list[Obj] = field(default_factory=list)
    workload: Obj | None = None
    pods_known: bool = True
    earlier: list[Obj] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class State:
    """A run's state in words.

    Attributes:
        run, rayjob: its name, and of the RayJob of this submission.
        phase: one word.
        text: one line.
        reasons: why it is not further, each a line.
        terminal: it will not change by itself.
        ready, wanted: pods, head included.
        failed_attempts: so far, within KubeRay's retries.
        holds_pods: pods still exist: GPUs are not free yet.
    """

    run: str
    rayjob: str
    phase: Phase
    text: str
    reasons: list[str] = field(default_factory=list)
    ready: int = 0
    wanted: int = 0
    failed_attempts: int = 0
    holds_pods: bool = False

    @property
    def terminal(self) -> bool:
        return self.phase in TERMINAL

    @property
    def settled(self) -> bool:
        """Nothing to wait for: it ended, or someone has to go on with it."""
        return self.terminal or self.phase == "paused"

    @property
    def exit_code(self) -> int:
        """Of a command that only looks."""
        return 1 if self.phase in ("failed", "refused") else 0

    @property
    def outcome_code(self) -> int:
        """Of a command that waited for the end."""
        return 130 if self.phase in ("cancelled", "paused") else self.exit_code


def interpret(snapshot: Snapshot) -> State:
    """The state of a run. Never raises for a state it does not know: it says what it read."""
    job = snapshot.rayjob
    status: Obj = job.get("status") or {}
    pods = _current_pods(snapshot)
    phase, text = _phase(snapshot, status, pods)
    conditions = (status.get("rayClusterStatus") or {}).get("conditions") or []
    why: list[str] = []
    if phase in ("starting", "running", "recovering"):
        found = reasons(pods, snapshot.events, conditions)
        why = in_words(found)
        blocking = [reason.text for reason in found if reason.blocking]
        if phase == "starting" and blocking:
            phase, text = "pending", f"pending: {blocking[0]}"
        if phase == "running":
            why = [line for line in why if "leaving" not in line] + _leaving(pods)
    elif phase == "failed" and status.get("reason") == "PreRunningDeadlineExceeded":
        # The deadline's own message repeats no cause, and the pods that tell it leave with the TTL.
        found = reasons(pods, snapshot.events, conditions)
        why = in_words({reason: roles for reason, roles in found.items() if reason.blocking})
    wanted = _wanted(job)
    if phase == "starting":
        text = f"{text}, {sum(map(is_ready, pods))} of {wanted} pods ready"
    attempts = int(status.get("failed") or 0)
    if attempts and phase not in TERMINAL:
        text = f"{text} (attempt {attempts + 1}: {attempts} failed)"
    return State(
        run=run_of(job),
        rayjob=job["metadata"]["name"],
        phase=phase,
        text=text,
        reasons=why,
        ready=sum(map(is_ready, pods)),
        wanted=wanted,
        failed_attempts=attempts,
        holds_pods=bool(snapshot.pods),
    )


def run_of(rayjob: Obj) -> str:
    """Name of the run a RayJob belongs to: by its label, if it is called as ours are."""
    name, labelled = str(rayjob["metadata"]["name"]), run_label(rayjob)
    return labelled if name == rayjob_name(labelled, attempt_of(rayjob)) else name


def run_label(rayjob: Obj) -> str:
    """Value of the run label, which its pods have too."""
    meta = rayjob["metadata"]
    return str((meta.get("labels") or {}).get(RUN_LABEL, meta["name"]))


def attempt_of(rayjob: Obj) -> int:
    """1 for a submit, 2 for the first resume, ..."""
    return int(note(rayjob, "attempt", "1"))


def note(rayjob: Obj, key: str, default: str = "") -> str:
    """One of our annotations."""
    return str((rayjob["metadata"].get("annotations") or {}).get(ANNOTATION + key, default))


def seconds_held(rayjob: Obj, now: datetime) -> float:
    """How long this attempt has held all its pods, seconds: GPUs are paid for from then on."""
    status = rayjob.get("status") or {}
    conditions = (status.get("rayClusterStatus") or {}).get("conditions") or []
    began = next(
        (
            c["lastTransitionTime"]
            for c in conditions
            if c["type"] == "RayClusterProvisioned" and c["status"] == "True"
        ),
        None,
    )
    if began is None or status.get("jobDeploymentStatus") in ("Suspended", "ValidationFailed"):
        return 0.0
    end = parse_time(status["endTime"]) if status.get("endTime") else now
    return max(0.0, (end - parse_time(began)).total_seconds())


def parse_time(text: str) -> datetime:
    """Kubernetes' RFC 3339."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def _phase(snapshot: Snapshot, status: Obj, pods: list[Obj]) -> tuple[Phase, str]:
    job = snapshot.rayjob
    spec = job.get("spec") or {}
    deployment = status.get("jobDeploymentStatus") or ""
    program = status.get("jobStatus") or ""
    if "deletionTimestamp" in job["metadata"]:
        return "deleting", "being deleted"
    if deployment == "ValidationFailed":
        return "refused", f"refused by KubeRay: {_first_line(status)}. Fix it and submit again"
    if deployment == "Complete":
        if program == "STOPPED":
            return "cancelled", "cancelled: the program was stopped"
        if program == "SUCCEEDED":
            return "succeeded", "succeeded"
        return "failed", f"ended as {program or 'unknown'}: {_first_line(status)}"
    if deployment == "Failed":
        return "failed", _failure(status)
    if deployment in ("Suspended", "Suspending"):
        return _suspended(snapshot, pods)
    if deployment == "Retrying":
        return "retrying", f"trying again: {_failure(status)}"
    if deployment == "Running":
        return _running(snapshot, program, pods)
    if deployment in ("Initializing", "Waiting"):
        if spec.get("suspend"):
            return "stopping", "being paused"
        return "starting", "starting"
    if deployment:
        return "starting", f"in a state this vidgen-cloud does not know: {deployment}"
    if status.get("failed"):
        return "retrying", "trying again: the last attempt's pods leave, new ones come"
    if snapshot.workload is not None or _queue(job):
        return _queued(snapshot)
    return "submitted", "submitted: KubeRay has not looked at it yet"


def _running(snapshot: Snapshot, program: str, pods: list[Obj]) -> tuple[Phase, str]:
    if snapshot.rayjob["spec"].get("suspend"):
        return "stopping", "being paused"
    if snapshot.pods_known and not any(role(p) == "head" and is_ready(p) for p in pods):
        return (
            "recovering",
            "recovering: the head is gone or not ready; the run goes on from its last checkpoint "
            "when it is back",
        )
    if program in ("", "PENDING"):
        return "starting", "starting the program"
    if program == "RUNNING":
        return "running", "running"
    return "running", f"ending: the program has {program.lower()}"


def _suspended(snapshot: Snapshot, pods: list[Obj]) -> tuple[Phase, str]:
    left = len(snapshot.pods)
    leaving = f"; {left} pod{'s are' if left > 1 else ' is'} still leaving" if left else ""
    if snapshot.rayjob["metadata"].get("annotations", {}).get(CANCELLED):
        return ("stopping" if left else "cancelled"), f"cancelled{leaving}"
    if snapshot.workload is not None or _queue(snapshot.rayjob):
        return _queued(snapshot)
    if left:
        return "stopping", f"paused{leaving}"
    return "paused", "paused: `vidgen-cloud resume` goes on from the last checkpoint"


def _queued(snapshot: Snapshot) -> tuple[Phase, str]:
    queue = _queue(snapshot.rayjob)
    workload = snapshot.workload
    if workload is None:
        return "queued", f"queued in {queue}: Kueue has not looked at it yet"
    if (workload.get("spec") or {}).get("active") is False:
        return "paused", "paused: its Kueue Workload is not active"
    conditions = {c["type"]: c for c in (workload.get("status") or {}).get("conditions") or []}
    if conditions.get("Admitted", {}).get("status") == "True":
        return "starting", "admitted by Kueue, starting"
    for kind in ("Evicted", "QuotaReserved", "Admitted"):
        found = conditions.get(kind)
        if found and (found["status"] == "False") == (kind != "Evicted"):
            return "queued", f"queued in {queue}: {' '.join(found.get('message', '').split())}"
    return "queued", f"queued in {queue}"


def _queue(rayjob: Obj) -> str:
    return str((rayjob["metadata"].get("labels") or {}).get(QUEUE_LABEL, ""))


def _failure(status: Obj) -> str:
    """Why an attempt failed, in one line."""
    reason = status.get("reason") or ""
    message = str(status.get("message") or "")
    if reason == "PreRunningDeadlineExceeded":
        return f"failed: it was not running {_deadline(message)} after it was started"
    if reason == "DeadlineExceeded":
        state = "while running" if status.get("jobStatus") == "RUNNING" else "before it ran"
        return f"failed: it took longer than its limit of {_deadline(message)}, reached {state}"
    if message.startswith("runtime_env setup failed"):
        return f"failed: its code archive could not be set up: {_last_line(message)}"
    code = re.search(r"failed with exit code (-?\d+)", message)
    if code:
        return f"failed: {_program_end(int(code[1]), message)}"
    return f"failed: {_first_line(status) or reason or 'no reason given'}"


def _program_end(code: int, message: str) -> str:
    if code == 127:
        return f"the command does not exist in the image: {_last_line(message)}"
    if re.search(r"OutOfMemoryError|out of memory|running low on memory", message):
        return "a worker ran out of memory. Use a smaller batch, or more memory in the pool"
    if re.search(r"node was (preempted|terminated expectedly)", message):
        return "a worker's node was taken away, and the program did not survive it"
    if "WorkerCrashedError" in message:
        return "a worker process was killed, most likely for its memory"
    if code in (137, -9):
        return "the program was killed, most likely for its memory"
    return f"the program ended with exit code {code}: {_last_line(message)}"


def _deadline(message: str) -> str:
    found = re.search(r"DeadlineSeconds: (\d+)", message)
    return f"{found[1]} s" if found else "its deadline"


def _first_line(status: Obj) -> str:
    lines = str(status.get("message") or "").strip().splitlines()
    return lines[0].strip().rstrip(".") if lines else ""


def _last_line(message: str) -> str:
    plain = re.sub(r"\x1b\[[0-9;]*m", "", message)
    lines = [line.strip() for line in plain.splitlines() if line.strip()]
    return lines[-1][:300] if len(lines) > 1 else "see its logs"


def _leaving(pods: list[Obj]) -> list[str]:
    leaving = {p["metadata"]["name"]: why_leaving(p) for p in pods if _is_leaving(p)}
    names = [f"{name} ({why})" if why else name for name, why in leaving.items()]
    return [f"leaving: {', '.join(names)}"] if names else []


def _is_leaving(pod: Obj) -> bool:
    return "deletionTimestamp" in pod["metadata"]


def _current_pods(snapshot: Snapshot) -> list[Obj]:
    """Pods of this attempt: a retry makes a new RayCluster while the old one's pods leave."""
    cluster = (snapshot.rayjob.get("status") or {}).get("rayClusterName")
    return [
        p
        for p in snapshot.pods
        if (p["metadata"].get("labels") or {}).get("ray.io/cluster") == cluster
    ]


def _wanted(rayjob: Obj) -> int:
    spec: Any = (rayjob.get("spec") or {}).get("rayClusterSpec") or {}
    return 1 + sum(int(group.get("replicas") or 0) for group in spec.get("workerGroupSpecs") or [])
