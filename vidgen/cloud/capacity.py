"""What pools have and who uses them, from nodes and pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from vidgen.cloud.names import RUN_LABEL
from vidgen.cloud.platform import Platform, Pool, Toleration
from vidgen.cloud.quantity import parse_quantity
from vidgen.cloud.why import Obj


@dataclass(kw_only=True)
class Capacity:
    """One pool now.

    Attributes:
        nodes: up and schedulable, of Platform's max_nodes.
        total, used, pending: GPUs allocatable, asked by pods on nodes, asked by pods that wait.
        runs: GPUs by run; '' stands for pods that are no runs.
        untolerated: taints of its nodes that the pool does not tolerate.
    """

    nodes: int = 0
    total: int = 0
    used: int = 0
    pending: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    untolerated: set[str] = field(default_factory=set)

    @property
    def free(self) -> int:
        return max(0, self.total - self.used)


def capacities(
    platform: Platform, nodes: Iterable[Obj], pods: Iterable[Obj]
) -> dict[str, Capacity]:
    """Capacity by pool. CPU pools count nodes only."""
    found = {name: Capacity() for name in platform.pools}
    pool_of_node: dict[str, str] = {}
    for node in nodes:
        for name, pool in platform.pools.items():
            if not _selects(pool.node_selector, node) or not _has_resource(pool, node):
                continue
            pool_of_node[node["metadata"]["name"]] = name
            if (node.get("spec") or {}).get("unschedulable"):
                break
            found[name].nodes += 1
            found[name].total += _gpus(pool, node["status"].get("allocatable") or {})
            found[name].untolerated |= untolerated(pool, node)
            break
    for pod in pods:
        if pod.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        placed = (pod.get("spec") or {}).get("nodeName")
        name = pool_of_node.get(placed, "") if placed else _pool_of_waiting(platform, pod)
        if not name:
            continue
        asked = _asked(platform.pools[name], pod)
        if placed:
            found[name].used += asked
        else:
            found[name].pending += asked
        run = (pod["metadata"].get("labels") or {}).get(RUN_LABEL, "")
        if asked:
            found[name].runs[run] = found[name].runs.get(run, 0) + asked
    return found


def untolerated(pool: Pool, node: Obj) -> set[str]:
    """Taints that keep the pool's pods off its own node."""
    return {
        f"{taint['key']}={taint.get('value', '')}:{taint['effect']}"
        for taint in (node.get("spec") or {}).get("taints") or []
        if taint["effect"] != "PreferNoSchedule"
        and not any(_tolerates(toleration, taint) for toleration in pool.tolerations)
    }


def _tolerates(toleration: Toleration, taint: Obj) -> bool:
    if toleration.effect and toleration.effect != taint["effect"]:
        return False
    if toleration.key and toleration.key != taint["key"]:
        return False
    return toleration.operator == "Exists" or toleration.value == taint.get("value", "")


def _selects(selector: dict[str, str], node: Obj) -> bool:
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _has_resource(pool: Pool, node: Obj) -> bool:
    return not pool.is_gpu or _gpus(pool, node["status"].get("capacity") or {}) > 0


def _gpus(pool: Pool, resources: dict[str, Any]) -> int:
    return int(parse_quantity(str(resources.get(pool.gpu_resource, "0")))) if pool.is_gpu else 0


def _asked(pool: Pool, pod: Obj) -> int:
    total = Decimal(0)
    for container in (pod.get("spec") or {}).get("containers") or []:
        resources = container.get("resources") or {}
        asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        total += _gpus(pool, asked)
    return int(total)


def _pool_of_waiting(platform: Platform, pod: Obj) -> str:
    selector = (pod.get("spec") or {}).get("nodeSelector") or {}
    for name, pool in platform.pools.items():
        if pool.is_gpu and _asked(pool, pod) and selector == pool.node_selector:
            return name
    return ""
