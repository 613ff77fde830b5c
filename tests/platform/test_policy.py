"""Every pod of the chart and of `vidgen-cloud` is restricted, and its accounts have few rights."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from charts import EVERY_FILE, Object, kinds, named, objects_of, platform_of, pod_specs

from vidgen.cloud.checks import RIGHTS
from vidgen.cloud.rayjob import Job, render

KUEUE_RIGHTS = {
    *((verb, "kueue.x-k8s.io", "workloads") for verb in ("get", "list", "watch", "patch")),
    ("get", "kueue.x-k8s.io", "localqueues"),
}
WRITABLE = {"/tmp", "/home/vidgen", "/dev/shm", "/data"}
SWEEP = """
name: run
recipe: shapes-flow
space: {optimizer.lr: {loguniform: [1e-4, 1e-2]}}
budget: {trials: 8}
concurrent: 4
"""
SECRET_WORDS = re.compile(r"secret|token|password|access_key|credential", re.IGNORECASE)


def runs_of(file: Path) -> list[Object]:
    """What `vidgen-cloud submit` makes on this platform: a training run and a sweep per pool."""
    platform = platform_of(file)
    jobs = [
        Job(
            name="run",
            command=command,
            config=config,
            recipe="shapes-flow",
            workers=max(1, pool.gpus_per_node),
            pool=name,
            run_url=f"{platform.object_store.url}/runs/run",
        )
        for name, pool in platform.pools.items()
        for command, config in (("train", "name: run"), ("tune", SWEEP))
    ]
    return [render(job, platform, "vidgen") for job in jobs]


def pods_of(file: Path) -> list[tuple[str, Object]]:
    return [pod for each in [*objects_of(file), *runs_of(file)] for pod in pod_specs(each)]


def containers(template: Object) -> list[Object]:
    return [*template["spec"].get("initContainers", []), *template["spec"]["containers"]]


@EVERY_FILE
def test_pods_pass_pod_security_restricted_with_a_read_only_root(file: Path) -> None:
    assert len(pods_of(file)) >= 5  # the chart's test, heads and workers of two runs
    for where, template in pods_of(file):
        pod = template["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True, where
        assert pod["securityContext"]["runAsUser"] >= 1000, where
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), where
        for container in containers(template):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, where
            assert context["readOnlyRootFilesystem"] is True, where
            assert context["capabilities"] == {"drop": ["ALL"]}, where
            assert "privileged" not in context, where
            assert {mount["mountPath"] for mount in container["volumeMounts"]} <= WRITABLE, where
            assert not any("hostPort" in port for port in container.get("ports", [])), where
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= {"emptyDir", "persistentVolumeClaim"}, where


@EVERY_FILE
def test_the_autoscaler_beside_a_head_is_restricted_too(file: Path) -> None:
    for cluster in kinds(objects_of(file), "RayCluster"):
        context = cluster["spec"]["autoscalerOptions"]["securityContext"]
        assert context["allowPrivilegeEscalation"] is False
        assert context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}


@EVERY_FILE
def test_tokens_are_mounted_only_where_the_autoscaler_needs_one(file: Path) -> None:
    for where, template in pods_of(file):
        mounted = template["spec"]["automountServiceAccountToken"]
        assert mounted is (where == "RayCluster vidgen-interactive head"), where
    for account in kinds(objects_of(file), "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False


@EVERY_FILE
def test_secrets_are_only_referred_to(file: Path) -> None:
    for where, template in pods_of(file):
        for container in containers(template):
            for variable in container.get("env", []):
                if SECRET_WORDS.search(variable["name"]):
                    reference = variable["valueFrom"]["secretKeyRef"]
                    assert reference["key"] == variable["name"], where
            line = " ".join([*container.get("command", []), *container.get("args", [])])
            assert not SECRET_WORDS.search(line), where
    config = named(objects_of(file), "ConfigMap", "vidgen-platform")["data"]["platform.yaml"]
    for secret in kinds(objects_of(file), "Secret"):
        for value in secret["data"].values():
            assert value not in config


@EVERY_FILE
def test_every_secret_is_made_or_asked_for(file: Path) -> None:
    platform = platform_of(file)
    made = {each["metadata"]["name"] for each in kinds(objects_of(file), "Secret")}
    asked = {platform.object_store.secret_name, platform.auth.secret_name}
    used = {
        variable["valueFrom"]["secretKeyRef"]["name"]
        for _, template in pods_of(file)
        for container in containers(template)
        for variable in container.get("env", [])
        if "secretKeyRef" in variable.get("valueFrom", {})
    }
    assert used <= asked
    assert made <= asked


@EVERY_FILE
def test_images_are_exact(file: Path) -> None:
    for where, template in pods_of(file):
        for container in containers(template):
            name = container["image"].rpartition("/")[2]
            assert re.search(r"@sha256:[0-9a-f]{64}$|:\d[^:]*$", name), f"{where}: {name}"


@EVERY_FILE
def test_dashboards_ask_for_a_token(file: Path) -> None:
    for each in [*kinds(objects_of(file), "RayCluster"), *runs_of(file)]:
        spec = each["spec"].get("rayClusterSpec", each["spec"])
        assert spec["authOptions"]["mode"] == "token"
        assert spec["authOptions"]["secretName"] == platform_of(file).auth.secret_name


@EVERY_FILE
def test_runs_have_no_rights_in_the_cluster(file: Path) -> None:
    bindings = kinds(objects_of(file), "RoleBinding", "ClusterRoleBinding")
    subjects = [subject for binding in bindings for subject in binding["subjects"]]
    assert subjects
    assert "vidgen-run" not in {subject["name"] for subject in subjects}
    for _, template in pods_of(file):
        account = template["spec"].get("serviceAccountName")
        assert account in (None, "vidgen-run", "vidgen-interactive")
        if account:
            named(objects_of(file), "ServiceAccount", account)


@EVERY_FILE
def test_roles_name_what_they_allow(file: Path) -> None:
    for role in kinds(objects_of(file), "Role", "ClusterRole"):
        for rule in role["rules"]:
            assert "*" not in rule["verbs"] + rule["resources"] + rule["apiGroups"]
            if {"secrets", "configmaps"} & set(rule["resources"]):
                assert rule["verbs"] == ["get"]
                assert rule["resourceNames"]
            assert not {"escalate", "bind", "impersonate"} & set(rule["verbs"])


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert set(selector) <= {"matchLabels"}, "this test reads matchLabels only"
    return selector.get("matchLabels", {}).items() <= labels.items()


def labels_of(where: str, template: Object) -> dict[str, str]:
    """A pod's labels, with those that KubeRay adds."""
    labels = dict(template["metadata"].get("labels", {}))
    if where.startswith("Ray"):
        kind = "head" if where.endswith(" head") else "worker"
        labels |= {"ray.io/is-ray-node": "yes", "ray.io/node-type": kind}
    return labels


@EVERY_FILE
def test_network_is_closed_but_for_what_pods_need(file: Path) -> None:
    objects = objects_of(file)
    policies = kinds(objects, "NetworkPolicy")
    if not policies:
        assert "minimal" in file.name
        return
    deny = named(objects, "NetworkPolicy", "vidgen-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    port = platform_of(file).monitoring.metrics_port
    for where, template in pods_of(file):
        chosen = {
            each["metadata"]["name"]
            for each in policies
            if selects(each["spec"]["podSelector"], labels_of(where, template))
        }
        assert chosen >= {"vidgen-deny", "vidgen-dns"}, where
        ray = {"vidgen-ray", "vidgen-prometheus"}
        assert (chosen >= ray) is where.startswith("Ray"), where
        assert ("vidgen-operator" in chosen) is where.endswith(" head"), where
        store = "Deployment vidgen-objectstore"
        assert ("vidgen-objectstore" in chosen) is (where != store), where
        assert ("vidgen-objectstore-server" in chosen) is (where == store), where
    scraped = named(objects, "NetworkPolicy", "vidgen-prometheus")["spec"]["ingress"][0]["ports"]
    assert {each["port"] for each in scraped} == {8080, port}


@EVERY_FILE
def test_selectors_and_names_meet_the_pods_of_runs(file: Path) -> None:
    """PodMonitor, disruption budget and priority classes point at what vidgen-cloud makes."""
    objects = objects_of(file)
    pods = [pod for run in runs_of(file) for pod in pod_specs(run)]
    for monitor in kinds(objects, "PodMonitor"):
        ports = {each["port"] for each in monitor["spec"]["podMetricsEndpoints"]}
        offered = set()
        for where, template in pods:
            assert selects(monitor["spec"]["selector"], labels_of(where, template))
            offered |= {each["name"] for each in template["spec"]["containers"][0]["ports"]}
        assert ports <= offered
    for budget in kinds(objects, "PodDisruptionBudget"):
        for where, template in pods:
            chosen = selects(budget["spec"]["selector"], labels_of(where, template))
            assert chosen is where.endswith(" head")
    classes = {each["metadata"]["name"] for each in kinds(objects, "PriorityClass")}
    used = {template["spec"].get("priorityClassName") for _, template in pods} - {None}
    assert used == classes


@EVERY_FILE
def test_limits_of_the_namespace_let_runs_in(file: Path) -> None:
    """No pod breaks the LimitRange, and the quota has room for every pool at its full size."""
    objects, platform = objects_of(file), platform_of(file)
    for limits in kinds(objects, "LimitRange"):
        assert [set(each) for each in limits["spec"]["limits"]] == [{"type", "defaultRequest"}]
    for quota in kinds(objects, "ResourceQuota"):
        gpus = sum(pool.gpus_per_node * pool.max_nodes for pool in platform.pools.values())
        assert int(quota["spec"]["hard"].get("requests.nvidia.com/gpu", 0)) == gpus


@EVERY_FILE
def test_submitters_may_do_what_the_doctor_asks_for(file: Path) -> None:
    rules = named(objects_of(file), "Role", "vidgen-submitter")["rules"]
    allowed = {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    needed = {
        (verb, group, f"{resource}/{sub}" if sub else resource)
        for verb, group, resource, sub, *_ in RIGHTS
    }
    assert allowed - needed == {
        ("get", "", "secrets"),  # the dashboards' token, by name
        *(KUEUE_RIGHTS if platform_of(file).queue else ()),
    }
    assert needed <= allowed
