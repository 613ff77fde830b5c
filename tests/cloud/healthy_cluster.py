"""A cluster on which nothing is wrong, and what to put into it."""

from __future__ import annotations

from typing import Any

import pytest
from fake_kubernetes import FakeKubernetes

Obj = dict[str, Any]
A100 = {"node.kubernetes.io/instance-type": "p4d.24xlarge", "kubernetes.io/arch": "amd64"}
TAINT = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}


def node(name: str, labels: dict[str, str], gpus: int, *taints: Obj) -> Obj:
    amount = {"nvidia.com/gpu": str(gpus)} if gpus else {"cpu": "8"}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": list(taints)},
        "status": {"capacity": amount, "allocatable": amount},
    }


def pod(name: str, run: str, gpus: int, on: str = "", selector: Obj | None = None) -> Obj:
    labels = {"vidgen.dev/run": run} if run else {}
    container = {"name": "c", "resources": {"limits": {"nvidia.com/gpu": str(gpus)}}}
    spec = {"containers": [container], "nodeSelector": selector or {}, "nodeName": on}
    return {"metadata": {"name": name, "labels": labels}, "spec": spec, "status": {}}


@pytest.fixture
def healthy(cluster: FakeKubernetes, s3_bucket: str) -> FakeKubernetes:
    """A cluster on which the doctor finds nothing, the object store on the S3 server."""
    set_platform(cluster, "s3://clips/team", f"{s3_bucket}/team")
    cluster.groups |= {"apps", "monitoring.coreos.com"}
    image = "quay.io/kuberay/operator:v1.7.0"
    deployment = {
        "metadata": {"name": "kuberay", "labels": {"app.kubernetes.io/name": "kuberay-operator"}},
        "spec": {"template": {"spec": {"containers": [{"image": image}]}}},
    }
    cluster.put("deployments", deployment)
    crd = {
        "metadata": {"name": "rayjobs.ray.io"},
        "spec": {"versions": [{"name": "v1", "schema": "authOptions preRunningDeadlineSeconds"}]},
    }
    cluster.put("customresourcedefinitions", crd)
    cluster.put("nodes", node("n1", A100, 8, TAINT))
    cluster.put("nodes", node("n2", {"kubernetes.io/arch": "amd64"}, 0))
    return cluster


def set_platform(cluster: FakeKubernetes, old: str, new: str) -> None:
    data = cluster.get("configmaps", "vidgen-platform")["data"]
    assert old in data["platform.yaml"]
    data["platform.yaml"] = data["platform.yaml"].replace(old, new)
