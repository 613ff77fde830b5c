"""The pods of a run: how workers are laid over nodes, and pod templates that pass Pod Security
"restricted".

A pod's grace must exceed Ray's drain; /tmp as a whole must be writable, /tmp/ray is not enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

from vidgen.cloud.names import ROLE_LABEL, RUN_LABEL
from vidgen.cloud.platform import Head, Platform, Pool
from vidgen.cloud.quantity import parse_quantity, plus, times
from vidgen.errors import ConfigError

CONFIG_ENV = "VIDGEN_CONFIG"  # the run's YAML, as the head's environment carries it
CONFIG_FILE = "/tmp/vidgen/run.yaml"  # where vidgen.cloud.entrypoint writes it
_USER = 1000


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How workers are laid over pods: one pod a node."""

    pods: int
    workers_per_pod: int
    gpus_per_pod: int

    @property
    def gpus(self) -> int:
        return self.pods * self.gpus_per_pod


def layout(workers: int, name: str, pool: Pool) -> Layout:
    """Fewest nodes, evenly filled. Raises ConfigError when the pool is too small."""
    per_node = max(1, pool.gpus_per_node)
    pods = ceil(workers / per_node)
    if pods > pool.max_nodes:
        raise ConfigError(
            f"{workers} workers need {pods} nodes of pool '{name}', which has {pool.max_nodes}",
            fix=f"Use --workers {pool.max_nodes * per_node} or fewer, or another pool.",
        )
    if workers % pods:
        fits = pods * (workers // pods), pods * ceil(workers / pods)
        raise ConfigError(
            f"{workers} workers do not fill {pods} nodes of pool '{name}' evenly",
            fix=f"Use --workers {fits[0]} or {fits[1]}.",
        )
    each = workers // pods
    return Layout(pods=pods, workers_per_pod=each, gpus_per_pod=each if pool.is_gpu else 0)


def head_group(
    config: str, platform: Platform, pool: Pool, labels: dict[str, str], drivers: int = 1
) -> dict[str, Any]:
    """KubeRay's headGroupSpec; `config` travels in the head's environment.

    Args:
        drivers: trainings at a time; each has its driver on the head. The platform's figures are
            for one, more get more memory.
    """
    head = platform.head
    more = {"memory": f"{drivers - 1}Gi"} if drivers > 1 else {}  # one takes 0.7 to 1 GB
    requests, limits = (
        _plus(part, more) for part in (head.resources.requests, head.resources.limits)
    )
    env = [
        # Kubernetes would expand $(NAME) in a value; a doubled $ stands for itself.
        {"name": CONFIG_ENV, "value": config.replace("$", "$$")},
        {"name": "VIDGEN_CONFIG_FILE", "value": CONFIG_FILE},
        {"name": "RAY_JOB_STOP_WAIT_TIME_S", "value": str(platform.run.stop_seconds)},
        {"name": "VIDGEN_WORKER_OUTPUT", "value": "1"},
        {"name": "RAY_DEDUP_LOGS", "value": "0"},
        {"name": "RAY_COLOR_PREFIX", "value": "0"},
    ]
    container: dict[str, Any] = {
        "name": "ray-head",
        "image": head.image or pool.image or platform.image,
        "resources": {"requests": requests, "limits": limits},
        "env": env,
        "ports": [
            {"name": "gcs-server", "containerPort": 6379},
            {"name": "dashboard", "containerPort": 8265},
            {"name": "client", "containerPort": 10001},
        ],
    }
    pod = _pod(container, platform, pool, on=head, run=labels[RUN_LABEL])
    return {
        # No CPUs: ranks run on workers, the driver alone on the head.
        "rayStartParams": {"dashboard-host": "0.0.0.0", "num-cpus": "0"},
        "template": _template(pod, platform, labels, "head"),
    }


def _plus(resources: dict[str, str], more: dict[str, str]) -> dict[str, str]:
    """Resources with more of those that they name."""
    return {
        key: plus(value, more[key]) if key in more else value for key, value in resources.items()
    }


def worker_group(
    shape: Layout, platform: Platform, pool: Pool, labels: dict[str, str]
) -> dict[str, Any]:
    """KubeRay's worker group: one pod a node, all alike."""
    each = shape.workers_per_pod
    needs = pool.resources
    requests = {name: times(value, each) for name, value in needs.requests.items()}
    limits = {name: times(value, each) for name, value in needs.limits.items()}
    if shape.gpus_per_pod:
        requests[pool.gpu_resource] = limits[pool.gpu_resource] = str(shape.gpus_per_pod)
    container: dict[str, Any] = {
        "name": "ray-worker",
        "image": pool.image or platform.image,
        "resources": {"requests": requests, "limits": limits},
    }
    pod = _pod(container, platform, pool, on=pool, run=labels[RUN_LABEL])
    cpus = requests.get("cpu", limits.get("cpu", "0"))
    start = {
        "num-gpus": str(shape.gpus_per_pod),
        # At least one a rank: KubeRay would round a share of a core down, and ranks would wait.
        "num-cpus": str(max(each, ceil(parse_quantity(cpus)))),
    }
    if pool.shm:
        size = times(pool.shm, each)
        pod["volumes"].append({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": size}})
        container["volumeMounts"].append({"name": "shm", "mountPath": "/dev/shm"})
        # Half for Ray's object store, half for loader processes.
        start["object-store-memory"] = str(int(parse_quantity(size) / 2))
    return {
        "groupName": "gpu" if shape.gpus_per_pod else "cpu",
        # Fixed, not elastic: Kueue admits whole runs, and ranks are laid over all of them.
        "replicas": shape.pods,
        "minReplicas": shape.pods,
        "maxReplicas": shape.pods,
        "rayStartParams": start,
        "template": _template(pod, platform, labels, "worker"),
    }


def _environment(run: str, platform: Platform, drain: int) -> list[dict[str, Any]]:
    """What every pod of a run has; credentials by reference only."""
    store = platform.object_store
    plain = {
        "VIDGEN_RUN": run,
        "HOME": "/home/vidgen",
        "PYTHONDONTWRITEBYTECODE": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": str(drain),
        "VIDGEN_METRICS_PORT": str(platform.monitoring.metrics_port),
    }
    if store.endpoint_url:
        plain |= {"AWS_ENDPOINT_URL": store.endpoint_url, "AWS_ENDPOINT_URL_S3": store.endpoint_url}
    if store.region:
        plain |= {"AWS_REGION": store.region, "AWS_DEFAULT_REGION": store.region}
    env: list[dict[str, Any]] = [{"name": name, "value": value} for name, value in plain.items()]
    if store.secret_name:
        env += [
            {
                "name": name,
                "valueFrom": {"secretKeyRef": {"name": store.secret_name, "key": name}},
            }
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        ]
    return env


def _pod(
    container: dict[str, Any], platform: Platform, pool: Pool, *, on: Head | Pool, run: str
) -> dict[str, Any]:
    """A restricted pod: uid 1000, read-only root, nothing writable but /tmp and HOME.

    Args:
        container: its own part; what every pod of a run has is added.
        on: the nodes it may be placed on.
    """
    container["imagePullPolicy"] = platform.image_pull_policy
    container["env"] = [
        *container.get("env", ()),
        *_environment(run, platform, pool.drain_seconds),
    ]
    container["ports"] = [
        *container.get("ports", ()),
        {"name": "metrics", "containerPort": 8080},
        {"name": "vidgen-metrics", "containerPort": platform.monitoring.metrics_port},
    ]
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container["volumeMounts"] = [
        {"name": "tmp", "mountPath": "/tmp"},
        {"name": "home", "mountPath": "/home/vidgen"},
    ]
    pod: dict[str, Any] = {
        "containers": [container],
        "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "home", "emptyDir": {}}],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": _USER,
            "runAsGroup": _USER,
            "fsGroup": _USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "serviceAccountName": platform.service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": pool.grace_period_seconds,
        "nodeSelector": on.node_selector,
        "tolerations": [
            each.model_dump(by_alias=True, exclude_defaults=True) for each in on.tolerations
        ],
        **given(priorityClassName=on.priority_class),
    }
    if platform.image_pull_secrets:
        pod["imagePullSecrets"] = [{"name": name} for name in platform.image_pull_secrets]
    return pod


def _template(
    pod: dict[str, Any], platform: Platform, labels: dict[str, str], role: str
) -> dict[str, Any]:
    annotations = {
        **platform.run.pod_annotations,
        # Node autoscalers must not move pods to save nodes: every rank would start again.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
        "karpenter.sh/do-not-disrupt": "true",
    }
    return {
        "metadata": {
            "labels": {**platform.run.pod_labels, **labels, ROLE_LABEL: role},
            "annotations": annotations,
        },
        "spec": pod,
    }


def given(**fields: Any) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value}
