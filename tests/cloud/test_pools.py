"""pools: what is free, used and waited for, and what a laptop without a cluster can tell."""

from __future__ import annotations

import json
from pathlib import Path

import yaml
from cloud_setup import PLATFORM, Cli
from fake_kubernetes import FakeKubernetes, status
from healthy_cluster import A100, TAINT, node, pod


def test_pools_count_free_used_and_waited_for(cli: Cli, healthy: FakeKubernetes) -> None:
    selector = {"node.kubernetes.io/instance-type": "p4d.24xlarge"}
    healthy.put("nodes", node("n5", A100, 8, TAINT))
    healthy.put("pods", pod("p1", "run-a", 8, on="n1"))
    healthy.put("pods", pod("p2", "", 2, on="n5"))
    healthy.put("pods", pod("p3", "run-b", 8, selector=selector))
    healthy.put("pods", {**pod("p4", "run-c", 8, on="n5"), "status": {"phase": "Succeeded"}})
    rows = {row["pool"]: row for row in json.loads(cli("pools", "--json").out)}
    a100 = rows["a100"]
    assert (a100["nodes"], a100["free"], a100["used"], a100["pending"]) == (2, 6, 10, 8)
    assert a100["runs"] == {"run-a": 8, "": 2, "run-b": 8}
    assert a100["may_grow"] == 16
    assert a100["gpu_memory"] == "40Gi"
    assert rows["v100-spot"]["nodes"] == 0
    shown = cli("pools").out
    assert "a100 (A100 40 GB), 32.77 USD a node-hour" in shown
    assert "GPUs: 6 free, 10 used, 8 waited for, 16 more can be added" in shown
    assert "(not a vidgen run)" in shown


def test_yaml_says_what_json_says(cli: Cli, healthy: FakeKubernetes) -> None:
    for command in (["pools"], ["doctor", "--quick"], ["list"]):
        as_json, as_yaml = cli(*command, "-o", "json"), cli(*command, "-o", "yaml")
        assert yaml.safe_load(as_yaml.out) == json.loads(as_json.out)
        assert cli(*command, "--json").out == as_json.out
    assert cli("pools", "--json", "-o", "yaml").code == 2


def test_pools_without_the_right_to_see_nodes(cli: Cli, healthy: FakeKubernetes) -> None:
    answer = status(403, "Forbidden", "nodes is forbidden")
    healthy.fault = lambda method, path: (403, answer) if path.endswith("/nodes") else None
    result = cli("pools")
    assert result.code == 0
    assert "GPUs cannot be counted" in result.err
    assert "? free" in result.out


def test_a_platform_file_needs_no_cluster(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "platform.yaml"
    file.write_text(PLATFORM)
    (tmp_path / "run.yaml").write_text(
        "name: a\ndata: {synthetic: {}}\nmodel: {family: flow, conditions: [text]}\n"
    )
    arguments = ["--pool", "a100", "--platform", str(file), "--dry-run"]
    result = cli("--context", "no-such-context", "submit", str(tmp_path / "run.yaml"), *arguments)
    assert result.code == 0
    assert "8 on 1 pod, 8 GPUs each" in result.out
