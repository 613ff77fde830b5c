"""Alerts: every one has what a person needs at night, and a test that fires it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from vidgen.observe.metric_table import METRICS, PREFIX

ROOT = Path(__file__).parents[2]
RULES = ROOT / "helm" / "vidgen" / "files" / "rules.yaml"
TESTS = Path(__file__).with_name("rules_test.yaml")
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]
]
promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is missing: apt-get install prometheus"
)


def metrics_in(query: str) -> set[str]:
    """Names of the table's metrics; a histogram's parts count as the histogram."""
    found = set(re.findall(rf"\b{PREFIX}\w+", query))
    return {
        name if name in METRICS else re.sub(r"_(sum|count|bucket)$", "", name) for name in found
    }


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_alerts(alert: dict[str, Any]) -> None:
    name, notes = alert["alert"], alert["annotations"]
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert notes["summary"]
    assert metrics_in(alert["expr"]) <= set(METRICS)
    page, _, anchor = notes["runbook"].partition("#")
    text = (ROOT / page).read_text()
    section = re.search(rf"^## {name}\n+(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"{page} has no section on {name}"
    assert "- Do:" in section[1]
    assert anchor == name.lower()
    assert f"| [{name}](#{anchor}) | {alert['labels']['severity']} |" in text
    cases = [
        case
        for test in yaml.safe_load(TESTS.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert any(case["exp_alerts"] for case in cases), "no test fires it"


@promtool
@pytest.mark.parametrize("command", [["check", "rules", RULES], ["test", "rules", TESTS]], ids=str)
def test_promtool(command: list[Any]) -> None:
    done = subprocess.run(["promtool", *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
