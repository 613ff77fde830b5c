"""The checks of `vidgen-cloud doctor` that only read: cluster -> findings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vidgen import __version__
from vidgen.cloud.capacity import capacities
from vidgen.cloud.findings import Finding, failure, ok, warning
from vidgen.cloud.platform import CONFIG_MAP, Platform
from vidgen.errors import ClusterError, VidgenError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster

KUBERAY = (1, 7)  # oldest that has authOptions and preRunningDeadlineSeconds
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/rayjobs.ray.io"
# (verb, group, resource, subresource, name, needed for)
RIGHTS = [
    *((verb, "ray.io", "rayjobs", "", "", "runs")
      for verb in ("create", "get", "list", "watch", "patch", "delete")),
    *((verb, "", kind, "", "", "status")
      for kind in ("pods", "events") for verb in ("get", "list", "watch")),
    ("get", "", "pods", "log", "", "logs --previous"),
    ("get", "", "pods", "portforward", "", "dashboard and cancel"),
    ("create", "", "pods", "portforward", "", "dashboard and cancel"),
    ("get", "", "configmaps", "", CONFIG_MAP, "finding the platform"),
]  # fmt: skip


def check_cluster(cluster: Cluster) -> Iterator[Finding]:
    """Reachable, and what this user may do. Raises ClusterError when nothing works at all."""
    version = cluster.raw("/version").get("gitVersion", "unknown")
    yield ok("cluster", f"{cluster.server}, Kubernetes {version}, namespace {cluster.namespace}")
    missing: dict[str, list[str]] = {}
    for verb, group, resource, sub, name, purpose in RIGHTS:
        if not _may(cluster, verb, group, resource, sub, name):
            missing.setdefault(purpose, []).append(f"{verb} {resource}{'/' + sub if sub else ''}")
    if not missing:
        yield ok("permissions", "all that vidgen-cloud needs")
    for purpose, rights in missing.items():
        yield failure(
            "permissions",
            f"missing for {purpose}: {', '.join(rights)}",
            "Ask for the chart's submitter role in this namespace.",
        )


def check_token(cluster: Cluster, platform: Platform) -> Iterator[Finding]:
    """Stopping a run with a checkpoint goes through its dashboard, which asks for a token."""
    secret = platform.auth.secret_name
    if platform.auth.mode == "disabled":
        return
    if secret and not _may(cluster, "get", "", "secrets", "", secret):
        yield failure(
            "dashboard",
            f"you may not read its token, Secret {secret}: cancel cannot save a checkpoint",
            "Ask for the chart's submitter role in this namespace.",
        )
    elif not secret and not _may(cluster, "get", "", "secrets", "", ""):
        yield warning(
            "dashboard",
            "each run has a token of its own, and you may not read Secrets",
            "Set auth.secretName on the platform, so that one Secret can be allowed.",
        )


def check_kuberay(cluster: Cluster) -> Iterator[Finding]:
    """Operator and CRDs, against what runs use and against each other: Helm upgrades no CRDs."""
    try:
        cluster.raw("/apis/ray.io/v1")
    except ClusterError as error:
        yield failure("KubeRay", error.what, error.fix or "Install KubeRay 1.7.")
        return
    operator = _operator_version(cluster)
    if operator is None:
        yield warning(
            "KubeRay operator",
            "its version cannot be seen by this user",
            "Ask whoever runs the cluster: 1.7 or newer.",
        )
    elif operator < KUBERAY:
        yield failure(
            "KubeRay operator",
            f"version {_dotted(operator)}, 1.7 or newer is needed",
            "helm upgrade kuberay-operator kuberay/kuberay-operator --version 1.7.0",
        )
    else:
        yield ok("KubeRay operator", f"version {_dotted(operator)}")
    try:
        schema = cluster.raw(CRD)
    except ClusterError:
        yield warning(
            "KubeRay CRD",
            "its schema cannot be read by this user",
            "A RayJob with unknown fields is refused when it is submitted.",
        )
        return
    text = str(next(v for v in schema["spec"]["versions"] if v["name"] == "v1")["schema"])
    lacks = [name for name in ("authOptions", "preRunningDeadlineSeconds") if name not in text]
    if lacks:
        yield failure(
            "KubeRay CRD",
            f"older than the operator: it has no {', '.join(lacks)}",
            "Helm never upgrades CRDs: kubectl apply --server-side --force-conflicts -k "
            "'github.com/ray-project/kuberay/ray-operator/config/crd?ref=v1.7.0'",
        )
    else:
        yield ok("KubeRay CRD", "has all fields that runs use")


def check_platform(platform: Platform) -> Iterator[Finding]:
    """The platform's own settings."""
    mine, theirs = __version__.split(".")[:2], platform.version.split(".")[:2]
    if mine == theirs:
        yield ok("platform", f"chart {platform.version}, image {platform.image}")
    else:
        yield warning(
            "platform",
            f"chart {platform.version} and vidgen-cloud {__version__} differ",
            "helm upgrade the platform, or pip install the matching vidgen.",
        )
    if re.search(r"(:latest|/[^:@]+)$", platform.image):
        yield warning(
            "image",
            f"{platform.image} may change under a run",
            "Name an exact tag or a digest in the chart's values.",
        )
    for name, pool in platform.pools.items():
        if "v100" in pool.gpu.lower():
            if not pool.image:
                yield failure(
                    f"pool {name}",
                    "a V100 cannot run the platform's image: its CUDA has no sm_70",
                    f"Set gpuPools.{name}.image to the V100 build.",
                )
            if pool.precision == "bf16":
                yield failure(
                    f"pool {name}",
                    "a V100 has no bf16",
                    f"Set gpuPools.{name}.precision to fp16.",
                )
    if platform.auth.mode == "disabled":
        yield warning(
            "dashboard",
            "open to everyone who reaches a head pod; it runs any code",
            "Set auth.mode to token in the chart's values.",
        )
    else:
        yield ok("dashboard", "asks for a token")


def check_pools(cluster: Cluster, platform: Platform) -> Iterator[Finding]:
    """Nodes behind each pool: there, tolerated, of an architecture the image has."""
    try:
        nodes = cluster.list("api/v1/nodes", everywhere=True)
    except ClusterError:
        yield warning(
            "pools",
            "nodes cannot be listed by this user",
            "Ask for the chart's node-reader role to see GPUs.",
        )
        return
    for name, now in capacities(platform, nodes, []).items():
        pool = platform.pools[name]
        if now.untolerated:
            yield failure(
                f"pool {name}",
                f"its pods do not tolerate {', '.join(sorted(now.untolerated))}",
                f"Add the toleration to gpuPools.{name}.tolerations.",
            )
        elif now.nodes:
            gpus = f", {now.total} GPUs" if pool.is_gpu else ""
            yield ok(f"pool {name}", f"{now.nodes} of {pool.max_nodes} nodes{gpus}")
        else:
            yield warning(
                f"pool {name}",
                "no node of it is up",
                "Fine if an autoscaler adds them; else compare its nodeSelector with "
                "`kubectl get nodes --show-labels`.",
            )
    strange = {
        node["metadata"]["labels"].get("kubernetes.io/arch")
        for node in nodes
        if any(
            pool.node_selector
            and pool.node_selector.items() <= (node["metadata"].get("labels") or {}).items()
            for pool in platform.pools.values()
        )
    } - {"amd64", None}
    if strange:
        yield failure(
            "image",
            f"it is built for amd64; pool nodes are {', '.join(sorted(map(str, strange)))}",
            "Build and name an image for that architecture.",
        )


def check_monitoring(cluster: Cluster, platform: Platform) -> Iterator[Finding]:
    """Prometheus can scrape runs, and people find Grafana."""
    try:
        cluster.raw("/apis/monitoring.coreos.com/v1")
    except VidgenError:
        yield warning(
            "Prometheus",
            "its operator is not installed: nothing scrapes runs",
            "helm install kube-prometheus-stack prometheus-community/kube-prometheus-stack",
        )
    else:
        yield ok("Prometheus", "its operator is installed")
    if platform.monitoring.grafana_url:
        yield ok("Grafana", platform.monitoring.grafana_url)
    else:
        yield warning("Grafana", "no address known", "Set monitoring.grafanaUrl in the values.")


def _may(cluster: Cluster, verb: str, group: str, resource: str, sub: str, name: str) -> bool:
    attributes: dict[str, Any] = {
        "namespace": cluster.namespace, "verb": verb, "group": group, "resource": resource,
        **({"subresource": sub} if sub else {}),
        # The chart's role lets people read some objects by name, not any of their kind.
        **({"name": name} if name else {}),
    }  # fmt: skip
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    }
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    return bool((cluster.raw(path, review).get("status") or {}).get("allowed"))


def _operator_version(cluster: Cluster) -> tuple[int, ...] | None:
    labels = "app.kubernetes.io/name=kuberay-operator"
    try:
        found = cluster.list("apis/apps/v1/deployments", labels=labels, everywhere=True)
    except ClusterError:
        return None
    for deployment in found:
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            version = re.search(r":v?(\d+)\.(\d+)(?:\.(\d+))?", container["image"])
            if version:
                return tuple(int(part) for part in version.groups() if part is not None)
    return None


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
