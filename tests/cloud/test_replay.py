"""Every recorded lifecycle through the command line: right words, right code, nothing changed."""

from __future__ import annotations

import json

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes
from replay import need_recordings, play, recordings, steps

from vidgen.cloud.state import Snapshot, interpret, run_of

# scenario, moment (s; None: the end), run, phase, words, exit code
MOMENTS = [
    ("app-failure", 10, "run-fail", "starting", "0 of 2 pods ready", 0),
    ("app-failure", None, "run-fail", "failed", "exit code 3: error: loss is NaN at step 3", 1),
    ("autoscale", 25, "run-auto", "running", "running", 0),
    ("autoscale", None, "run-auto", "succeeded", "succeeded", 0),
    ("cancelled", 25, "run-cancel", "running", "running", 0),
    ("cancelled", None, "run-cancel", "cancelled", "the program was stopped", 0),
    ("cancelled-time-to-save", 50, "run-csave", "running", "running", 0),
    ("cancelled-time-to-save", None, "run-csave", "cancelled", "the program was stopped", 0),
    ("deadline", None, "run-deadline", "failed", "limit of 100 s, reached while running", 1),
    ("deadline-pending", 30, "run-deadline", "pending", "1 Insufficient cpu", 0),
    ("deadline-pending", None, "run-deadline", "failed", "75 s, reached before it ran", 1),
    ("deleted-while-running", 27, "run-del", "deleting", "being deleted", 0),
    ("entrypoint-missing", None, "run-noentry", "failed", "vidgen-nosuch: not found", 1),
    ("head-killed", 40, "run-head", "recovering", "the head is gone", 0),
    ("head-killed", None, "run-head", "succeeded", "succeeded", 0),
    ("head-killed-k8sjobmode", 70, "run-headk", "starting", "attempt 2: 1 failed", 0),
    ("head-killed-k8sjobmode", None, "run-headk", "succeeded", "succeeded", 0),
    ("name-too-long", 5, "run.1", "refused", "DNS1035", 1),
    ("name-too-long", 5, "run-badpodlabel", "pending", "must be no more than 63 bytes", 0),
    ("pending-image", 40, "run-noimage", "pending", "registry.example.com/vidgen:no-such-tag", 0),
    ("pending-image", 80, "run-noimage", "failed", "cannot be pulled: it does not exist", 1),
    ("pending-secret", 15, "run-nosecret", "pending", 'secret "no-such-secret" not found', 0),
    ("pending-secret", 15, "run-noconfig", "pending", 'configmap "run-noconfig-job" not found', 0),
    ("pending-secret", None, "run-noconfig", "failed", "not running 40 s after", 1),
    ("pending-unschedulable", 30, "run-nogpu", "pending", "1 Insufficient nvidia.com/gpu", 0),
    ("pending-unschedulable", 70, "run-nogpu", "failed", "Insufficient nvidia.com/gpu", 1),
    ("quota", 30, "run-quota", "pending", "quota 'one-pod' leaves no room for a worker pod", 0),
    ("quota", None, "run-quota", "failed", "quota 'one-pod'", 1),
    ("rbac-minimal", 67.7, "run-rbac", "stopping", "paused", 0),
    ("restricted", 10, "run-restricted", "starting", "0 of 2 pods ready", 0),
    ("restricted", None, "run-restricted", "succeeded", "succeeded", 0),
    ("restricted", 30, "run-plain", "pending", "Pod Security refuses the head pod", 0),
    ("restricted", None, "run-plain", "failed", "allowPrivilegeEscalation != false", 1),
    ("restricted-mounts", 30, "ro-none", "pending", "ray-head crashes again and again", 0),
    ("restricted-mounts", None, "ro-tmpray", "failed", "not running 55 s after", 1),
    ("restricted-mounts", None, "ro-tmp-home", "succeeded", "succeeded", 0),
    ("retry", 50, "run-retry", "starting", "attempt 2: 1 failed", 0),
    ("retry", None, "run-retry", "succeeded", "succeeded", 0),
    ("retry-pending", 200, "run-retry", "pending", "1 Insufficient cpu", 0),
    ("retry-pending", None, "run-retry", "succeeded", "succeeded", 0),
    ("runtime-env-workingdir", None, "wd-s3", "succeeded", "succeeded", 0),
    ("runtime-env-workingdir", None, "wd-s3-noboto", "failed", "pip install smart_open[s3]", 1),
    ("runtime-env-workingdir", None, "wd-s3-missing", "failed", "NoSuchKey", 1),
    ("runtime-env-workingdir", None, "wd-https-noca", "failed", "CERTIFICATE_VERIFY_FAILED", 1),
    ("success", 18, "run-ok", "starting", "starting the program", 0),
    ("success", 21, "run-ok", "running", "running", 0),
    ("success", None, "run-ok", "succeeded", "succeeded", 0),
    ("success-k8sjobmode", 36, "run-k8s", "running", "ending: the program has succeeded", 0),
    ("success-k8sjobmode", None, "run-k8s", "succeeded", "succeeded", 0),
    ("suspended", 50, "run-susp", "stopping", "paused; 2 pods are still leaving", 0),
    ("suspended", 65, "run-susp", "paused", "resume", 0),
    ("suspended", None, "run-susp", "cancelled", "the program was stopped", 0),
    ("suspended-start", 3, "run-susp0", "paused", "resume", 0),
    ("suspended-start", None, "run-susp0", "succeeded", "succeeded", 0),
    ("token-auth", None, "run-token", "cancelled", "the program was stopped", 0),
    ("token-auth-own-secret", None, "run-own", "succeeded", "succeeded", 0),
    ("token-auth-own-secret", None, "run-nosecret", "failed", "not running 30 s after", 1),
    ("two-submits-one-name", 3, "run-twice", "paused", "resume", 0),
    ("validation-failed", 5, "run-invalid", "refused", "minReplicas 3 greater than maxReplicas", 1),
    ("validation-failed", 5, "run-badenv", "refused", "failed to unmarshal RuntimeEnvYAML", 1),
    ("worker-killed", 40, "run-worker", "running", "leaving: run-worker-", 0),
    ("worker-killed", None, "run-worker", "failed", "node was taken away", 1),
    ("worker-killed-drain50", None, "run-drain", "failed", "node was taken away", 1),
    ("worker-killed-grace60", None, "run-worker", "failed", "node was taken away", 1),
    ("worker-oom", None, "run-oom", "failed", "ran out of memory", 1),
    ("worker-oom-kernel", None, "run-oomk", "failed", "killed, most likely for its memory", 1),
]


@pytest.mark.parametrize(
    ("scenario", "moment", "run", "phase", "words", "code"),
    MOMENTS,
    ids=[f"{s}@{m or 'end'}:{r}" for s, m, r, *_ in MOMENTS],
)
def test_status_says_what_happened(
    cli: Cli,
    cluster: FakeKubernetes,
    scenario: str,
    moment: float | None,
    run: str,
    phase: str,
    words: str,
    code: int,
) -> None:
    play(need_recordings() / scenario, cluster, float("inf") if moment is None else moment)
    before = dict(cluster.objects)

    shown = cli("status", run)
    told = json.loads(cli("status", run, "--json").out)
    rows = [r for r in json.loads(cli("list", "--json").out) if r["run"] == run]

    assert words in shown.out
    assert (told["phase"], shown.code) == (phase, code)
    if "labels" in cluster.get("rayjobs", run)["metadata"]:  # else it is nobody's run
        assert [r["phase"] for r in rows] in ([phase], ["starting"])  # a list reads no events
    assert cluster.objects == before
    assert set(cluster.did("POST") + cluster.did("PATCH") + cluster.did("DELETE")) == set()


def test_every_scenario_is_looked_at() -> None:
    folder = need_recordings()
    have = {f.name for f in folder.iterdir() if (f / "rayjobs.jsonl").is_file()}
    assert have - {"api-forbidden"} == {scenario for scenario, *_ in MOMENTS}


@pytest.mark.parametrize(
    "scenario", sorted(f.name for f in recordings().iterdir() if f.is_dir()) if recordings() else []
)
def test_no_moment_is_misread(cluster: FakeKubernetes, scenario: str) -> None:
    """At each moment of each recording: a state, and once it is terminal it stays so."""
    ended: dict[str, str] = {}
    for _ in steps(need_recordings() / scenario, cluster):
        pods = [o for (kind, *_), o in cluster.objects.items() if kind == "pods"]
        for kind, _, name in list(cluster.objects):
            if kind != "rayjobs":
                continue
            job = cluster.get("rayjobs", name)
            mine = [
                p
                for p in pods
                if p["metadata"].get("labels", {}).get("vidgen.dev/run") == run_of(job)
            ]
            state = interpret(Snapshot(rayjob=job, pods=mine))
            if state.phase != "deleting" and ended.setdefault(name, state.phase) != state.phase:
                assert ended[name] not in ("succeeded", "failed", "cancelled", "refused")
                ended[name] = state.phase
            assert state.text
            assert state.exit_code in (0, 1)
