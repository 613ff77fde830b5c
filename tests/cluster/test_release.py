"""A release on a real cluster, from install to nothing left. The tests build on each other."""

from __future__ import annotations

import time
from typing import Any

import pytest

RELEASE = "vidgen"
VERBS = ("get", "list", "watch", "create", "update", "patch", "delete")
# (group, resource, subresource, name) -> verbs that a submitter has; every other one is denied.
SUBMITTER: dict[tuple[str, str, str, str], set[str]] = {
    ("ray.io", "rayjobs", "", ""): {"get", "list", "watch", "create", "patch", "delete"},
    ("", "pods", "", ""): {"get", "list", "watch"},
    ("", "events", "", ""): {"get", "list", "watch"},
    ("", "pods", "log", ""): {"get"},
    ("", "pods", "portforward", ""): {"get", "create"},
    ("", "pods", "exec", ""): set(),
    ("", "configmaps", "", "vidgen-platform"): {"get"},
    ("", "configmaps", "", ""): set(),
    ("", "secrets", "", "vidgen-ray-auth"): {"get"},
    ("", "secrets", "", "vidgen-objectstore"): {"get"},
    ("", "secrets", "", ""): set(),
    ("", "serviceaccounts", "token", "vidgen-run"): set(),
    ("ray.io", "rayclusters", "", ""): set(),
    ("batch", "jobs", "", ""): set(),
    ("apps", "deployments", "", ""): set(),
    ("rbac.authorization.k8s.io", "roles", "", ""): set(),
}


def may(platform: Any, account: str, verb: str, what: tuple[str, str, str, str]) -> bool:
    """`kubectl auth can-i VERB RESOURCE --as system:serviceaccount:...`."""
    from kubernetes import client

    group, resource, subresource, name = what
    review = client.V1SubjectAccessReview(
        spec=client.V1SubjectAccessReviewSpec(
            user=f"system:serviceaccount:{platform.namespace}:{account}",
            groups=["system:serviceaccounts", f"system:serviceaccounts:{platform.namespace}"],
            resource_attributes=client.V1ResourceAttributes(
                namespace=platform.namespace,
                verb=verb,
                group=group,
                resource=resource,
                subresource=subresource,
                name=name,
            ),
        )
    )
    api = client.AuthorizationV1Api(platform.api.client)
    return bool(api.create_subject_access_review(review).status.allowed)


def test_install_is_ready_and_readable(platform: Any) -> None:
    store = platform.object("apps/v1", "Deployment", "vidgen-objectstore")
    assert store.status.availableReplicas == 1
    assert list(platform.config().pools) == ["cpu"]
    platform.notes["token"] = platform.object("v1", "Secret", "vidgen-ray-auth").data.auth_token


@pytest.mark.parametrize("what", SUBMITTER, ids=lambda what: "-".join(filter(None, what)))
def test_submitter_may_exactly_this(platform: Any, what: tuple[str, str, str, str]) -> None:
    allowed = {verb for verb in VERBS if may(platform, "vidgen-submitter", verb, what)}
    assert allowed == SUBMITTER[what]


@pytest.mark.parametrize("account", ["vidgen-run", "default"])
def test_runs_may_nothing(platform: Any, account: str) -> None:
    allowed = {
        (verb, what) for what in SUBMITTER for verb in VERBS if may(platform, account, verb, what)
    }
    assert allowed == set()


def test_submitter_sees_nodes_and_changes_none(platform: Any) -> None:
    nodes = ("", "nodes", "", "")
    allowed = {verb for verb in VERBS if may(platform, "vidgen-submitter", verb, nodes)}
    assert allowed == {"get", "list"}


@pytest.mark.timeout(1200)
def test_helm_test_trains(platform: Any) -> None:
    platform.helm.test(RELEASE, timeout=900)


def test_a_pod_that_is_not_restricted_is_refused(platform: Any) -> None:
    from kubernetes import client

    pod = client.V1Pod(
        metadata=client.V1ObjectMeta(name="root"),
        spec=client.V1PodSpec(containers=[client.V1Container(name="a", image="a:1")]),
    )
    with pytest.raises(client.ApiException, match="violates PodSecurity"):
        client.CoreV1Api(platform.api.client).create_namespaced_pod(platform.namespace, pod)


def test_upgrade_changes_values_and_keeps_secrets(platform: Any) -> None:
    values = {**platform.values, "run": {"ttlSeconds": 17}}
    platform.helm.upgrade(platform.chart, RELEASE, values, wait="watcher", timeout=300)
    assert platform.config().run.ttl_seconds == 17
    kept = platform.object("v1", "Secret", "vidgen-ray-auth").data.auth_token
    assert kept == platform.notes["token"]


def test_rollback_brings_the_first_values_back(platform: Any) -> None:
    platform.helm.rollback(RELEASE, version=1, wait="watcher", timeout=300)
    assert platform.config().run.ttl_seconds == 60
    kept = platform.object("v1", "Secret", "vidgen-ray-auth").data.auth_token
    assert kept == platform.notes["token"]


def test_uninstall_leaves_nothing_behind(platform: Any) -> None:
    platform.helm.uninstall(RELEASE, timeout=120)
    deadline = time.monotonic() + 120
    while (left := remains(platform)) and time.monotonic() < deadline:
        time.sleep(2)
    assert left == []


def remains(platform: Any) -> list[str]:
    """Objects of the namespace that Kubernetes did not make, and the release's wider ones."""
    found = []
    for resource in platform.api.resources.search():
        if not {"list", "get"} <= set(resource.verbs or ()) or "/" in resource.name:
            continue
        if resource.kind.endswith("List") or resource.kind in ("Event", "PodMetrics"):
            continue
        where = {"namespace": platform.namespace} if resource.namespaced else {}
        if not resource.namespaced and resource.kind not in (
            "ClusterRole",
            "ClusterRoleBinding",
            "PriorityClass",
        ):
            continue
        for item in resource.get(**where).items:
            name = item.metadata.name
            cluster_wide = not resource.namespaced
            if cluster_wide and not name.startswith(f"vidgen-{platform.namespace}-"):
                continue
            if not cluster_wide and name in ("default", "kube-root-ca.crt"):
                continue
            found.append(f"{resource.kind} {name}")
    return sorted(set(found))
