"""doctor: each thing that can be wrong is found, and its fix is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from cloud_setup import Cli, helm_generate
from crd_schemas import FOLDER
from fake_kubernetes import FakeKubernetes, status
from fake_operator import FakeOperator
from healthy_cluster import A100, TAINT, node, set_platform

import vidgen.cloud.commands.doctor
from vidgen.cloud.probe import main as probe

Obj = dict[str, Any]


def findings(cli: Cli, *arguments: str) -> tuple[int, dict[str, Obj]]:
    result = cli("doctor", "--json", *(arguments or ("--quick",)))
    return result.code, {f"{f['level']} {f['check']}": f for f in json.loads(result.out)}


def test_nothing_wrong(cli: Cli, healthy: FakeKubernetes) -> None:
    code, found = findings(cli)
    assert code == 0
    assert not [key for key in found if key.startswith("failure")]
    assert {
        "ok cluster",
        "ok permissions",
        "ok KubeRay operator",
        "ok KubeRay CRD",
        "ok pool a100",
    } <= (found.keys())
    assert "ok object store from here" in found
    shown = cli("doctor", "--quick").out
    assert "ok    pool a100: 1 of 4 nodes, 8 GPUs" in shown


def as_role(rules: list[Obj]) -> Callable[[Obj], bool]:
    """Kubernetes' RBAC: a rule with resourceNames allows only what asks for one of these names."""

    def allowed(asked: Obj) -> bool:
        resource = "/".join(filter(None, [asked["resource"], asked.get("subresource")]))
        return any(
            asked["verb"] in rule["verbs"]
            and asked["group"] in rule["apiGroups"]
            and resource in rule["resources"]
            and (not rule.get("resourceNames") or asked.get("name") in rule["resourceNames"])
            for rule in rules
        )

    return allowed


def test_the_charts_own_submitter_has_all_rights(cli: Cli, healthy: FakeKubernetes) -> None:
    generate = helm_generate()
    objects = generate.render(generate.preset("kind"))
    rules = next(
        o["rules"]
        for o in objects
        if (o["kind"], o["metadata"]["name"]) == ("Role", "vidgen-submitter")
    )
    platform = next(o["data"]["platform.yaml"] for o in objects if o["kind"] == "ConfigMap")
    secret = yaml.safe_load(platform)["auth"]["secretName"]
    set_platform(healthy, "pools:", f"auth: {{mode: token, secretName: {secret}}}\npools:")
    healthy.allowed = as_role(rules)
    code, found = findings(cli)
    assert not [key for key in found if key.startswith("failure")]
    assert found["ok permissions"]

    healthy.allowed = as_role([rule for rule in rules if "secrets" not in rule["resources"]])
    code, found = findings(cli)
    assert code == 1
    assert f"Secret {secret}" in found["failure dashboard"]["text"]


def no_right(cluster: FakeKubernetes) -> None:
    cluster.allowed = lambda asked: (asked["resource"], asked["verb"]) != ("rayjobs", "create")


def old_operator(cluster: FakeKubernetes) -> None:
    spec = cluster.get("deployments", "kuberay")["spec"]["template"]["spec"]
    spec["containers"][0]["image"] = "quay.io/kuberay/operator:v1.5.1"


def old_crd(cluster: FakeKubernetes) -> None:
    crd = cluster.get("customresourcedefinitions", "rayjobs.ray.io")
    crd["spec"]["versions"][0]["schema"] = "entrypoint"


def no_queue(cluster: FakeKubernetes) -> None:
    set_platform(cluster, "serviceAccount:", "queue: gpus\nserviceAccount:")


def idle_queue(cluster: FakeKubernetes) -> None:
    no_queue(cluster)
    condition = {
        "type": "Active", "status": "False", "reason": "ClusterQueueIsInactive",
        "message": "Can't submit new workloads to clusterQueue",
    }  # fmt: skip
    status = {"pendingWorkloads": 3, "conditions": [condition]}
    cluster.put("localqueues", {"metadata": {"name": "gpus"}, "status": status})


def deletion_rules(cluster: FakeKubernetes) -> None:
    rules = [{"policy": "DeleteCluster", "condition": {"jobStatus": "SUCCEEDED"}}]
    cluster.put(
        "rayjobs",
        {
            "metadata": {"name": "by-hand", "labels": {"kueue.x-k8s.io/queue-name": "gpus"}},
            "spec": {"deletionStrategy": {"deletionRules": rules}},
        },
    )


def strange_taint(cluster: FakeKubernetes) -> None:
    cluster.put(
        "nodes", node("n3", A100, 8, {"key": "sku", "value": "gpu", "effect": "NoSchedule"})
    )


def arm(cluster: FakeKubernetes) -> None:
    cluster.put("nodes", node("n4", {**A100, "kubernetes.io/arch": "arm64"}, 8, TAINT))


@pytest.mark.parametrize(
    ("break_it", "check", "text", "fix"),
    [
        (no_right, "permissions", "create rayjobs", "submitter role"),
        (lambda c: c.groups.discard("ray.io"), "KubeRay", "knows nothing of ray.io", "KubeRay 1.7"),
        (old_operator, "KubeRay operator", "version 1.5.1", "helm upgrade kuberay"),
        (old_crd, "KubeRay CRD", "authOptions", "--server-side"),
        (
            lambda c: c.remove("configmaps", "vidgen-platform"),
            "platform", "has no vidgen platform", "helm install",
        ),
        (no_queue, "queue", "LocalQueue 'gpus' is not in namespace team", "localqueues"),
        (idle_queue, "queue", "admits nothing: Can't submit new workloads", "clusterqueue"),
        (deletion_rules, "deletion rules", "keep their quota: by-hand", "ttlSecondsAfterFinished"),
        (strange_taint, "pool a100", "do not tolerate sku=gpu:NoSchedule", "tolerations"),
        (arm, "image", "arm64", "Build"),
        (
            lambda c: set_platform(c, "    image: registry.example.com/vidgen:0.1.0-v100\n", ""),
            "pool v100-spot", "sm_70", "V100 build",
        ),
        (
            lambda c: set_platform(c, "precision: fp16", "precision: bf16"),
            "pool v100-spot", "no bf16", "fp16",
        ),
        (
            lambda c: set_platform(c, "drainSeconds: 10", "drainSeconds: 20"),
            "platform", "must exceed drainSeconds", "helm upgrade",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_is_a_failure_with_its_fix(
    cli: Cli,
    healthy: FakeKubernetes,
    break_it: Callable[[FakeKubernetes], None],
    check: str,
    text: str,
    fix: str,
) -> None:
    break_it(healthy)
    code, found = findings(cli)
    assert code == 1
    assert text in found[f"failure {check}"]["text"]
    assert fix in found[f"failure {check}"]["fix"]
    assert set(healthy.did("POST")) == {"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"}


@pytest.mark.parametrize(
    ("break_it", "check"),
    [
        (lambda c: c.groups.discard("monitoring.coreos.com"), "Prometheus"),
        (lambda c: set_platform(c, "version: 0.1.0", "version: 0.7.0"), "platform"),
        (
            lambda c: set_platform(c, "image: registry.example.com/vidgen:0.1.0\n", "image: a/b\n"),
            "image",
        ),
        (lambda c: set_platform(c, "pools:", "auth: {mode: disabled}\npools:"), "dashboard"),
        (lambda c: c.remove("nodes", "n1"), "pool a100"),
    ],
)
def test_what_may_be_meant_is_a_warning(
    cli: Cli, healthy: FakeKubernetes, break_it: Callable[[FakeKubernetes], None], check: str
) -> None:
    break_it(healthy)
    code, found = findings(cli)
    assert code == 0
    assert found[f"warning {check}"]["fix"]


def test_a_user_who_may_do_little_still_gets_answers(cli: Cli, healthy: FakeKubernetes) -> None:
    answer = status(403, "Forbidden", "forbidden")
    hidden = ("nodes", "deployments", "customresourcedefinitions")
    healthy.fault = lambda m, path: (403, answer) if any(h in path for h in hidden) else None
    code, found = findings(cli)
    assert code == 0
    assert {"warning KubeRay operator", "warning KubeRay CRD", "warning pools"} <= found.keys()


def test_no_cluster_is_one_failure(cli: Cli, healthy: FakeKubernetes) -> None:
    healthy.fault = lambda method, path: (401, status(401, "Unauthorized", "Unauthorized"))
    code, found = findings(cli)
    assert (code, list(found)) == (1, ["failure cluster"])


def test_the_crd_check_accepts_the_real_crd(cli: Cli, healthy: FakeKubernetes) -> None:
    import yaml

    file = FOLDER / "ray.io_rayjobs.yaml"
    if not file.is_file():
        pytest.skip(f"no CRDs in {FOLDER}; set VIDGEN_TEST_CRDS")
    crd = yaml.load(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    healthy.put("customresourcedefinitions", crd)
    assert "ok KubeRay CRD" in findings(cli)[1]


@pytest.mark.parametrize("reachable", [True, False])
def test_a_pod_tries_the_object_store_and_is_removed(
    cli: Cli,
    healthy: FakeKubernetes,
    s3_bucket: str,
    reachable: bool,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The probe's own code runs here, as it would on the head; the operator is played."""
    operator = FakeOperator(healthy)
    probe(f"{s3_bucket}/team" if reachable else "s3://no-such-bucket-here/team")
    operator.output = "Running entrypoint\n" + capsys.readouterr().out

    def life() -> None:
        while not healthy.names("rayjobs"):
            time.sleep(0.02)
        (name,) = healthy.names("rayjobs")
        operator.run(name)
        operator._status(name, jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")

    threading.Thread(target=life, daemon=True).start()
    code, found = findings(cli, "--platform", "")
    operator.close()
    assert healthy.names("rayjobs") == []
    if reachable:
        assert "written, read and deleted" in found["ok object store from a pod"]["text"]
        assert "ok /dev/shm from a pod" in found or "failure /dev/shm from a pod" in found
    else:
        assert code == 1
        assert "objectStore" in found["failure object store from a pod"]["fix"]


def test_a_probe_that_never_starts_says_why_and_is_removed(
    cli: Cli, healthy: FakeKubernetes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vidgen.cloud.commands.doctor, "_PROBE_S", 0)
    code, found = findings(cli, "--platform", "")
    assert code == 1
    assert "KubeRay has not looked at it yet" in found["failure probe"]["text"]
    assert healthy.names("rayjobs") == []


def test_rules_outside_queues_are_a_warning(cli: Cli, healthy: FakeKubernetes) -> None:
    deletion_rules(healthy)
    del healthy.get("rayjobs", "by-hand")["metadata"]["labels"]
    code, found = findings(cli)
    assert code == 0
    assert "that was stopped: by-hand" in found["warning deletion rules"]["text"]
