"""Dashboards: Grafana's types, the table's metrics, and nothing that ties them to one Grafana."""

from __future__ import annotations

import json
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard
from observe.test_alerts import ROOT, metrics_in

from vidgen.observe.metric_table import METRICS, PHASES, RUN_INFO

FILES = sorted((ROOT / "helm" / "vidgen" / "dashboards").glob("*.json"))
UNITS = {
    "short", "s", "bytes", "Bps", "percentunit", "watt", "celsius", "hertz", "reqps", "cps",
    "flops", "none", "currencyUSD", "sci",
}  # fmt: skip


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the rows' headings."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def queries(board: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in panels(board) for target in panel["targets"]]


def test_there_are_five() -> None:
    assert [file.stem for file in FILES] == ["data", "fleet", "health", "run", "sweep"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_dashboard(file: Any) -> None:
    board = json.loads(file.read_text())
    again = Dashboard.from_json(board)
    # The same after a passage through Grafana's types: no field that Grafana does not know.
    assert json.loads(JSONEncoder().encode(again)) == board
    assert again.uid == f"vidgen-{file.stem}"
    variables = {each["name"]: each for each in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert "namespace" in variables
    sources = [
        each["datasource"] for panel in panels(board) for each in (panel, *panel["targets"])
    ] + [each["datasource"] for each in variables.values() if each["type"] == "query"]
    assert all(each == {"type": "prometheus", "uid": "${datasource}"} for each in sources)
    titles = [panel["title"] for panel in panels(board)]
    for panel in panels(board):
        assert panel["description"].endswith(".")
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS
        assert panel["gridPos"]["w"] + panel["gridPos"]["x"] <= 24
    assert len(titles) >= 10
    for query in queries(board):
        assert metrics_in(query)
        assert metrics_in(query) <= set(METRICS), query
        assert 'namespace=~"$namespace"' in query
        for name in ("run", "rank", "sweep"):
            assert f'{name}=~"${name}"' not in query or name in variables


def test_every_metric_is_shown_somewhere() -> None:
    shown = {
        name
        for file in FILES
        for query in queries(json.loads(file.read_text()))
        for name in metrics_in(query)
    }
    assert set(METRICS) == shown


def test_the_run_board_shows_samples_and_all_phases() -> None:
    board = json.loads((FILES[0].parent / "run.json").read_text())
    assert any(RUN_INFO.name in query for query in queries(board))
    text = " ".join(queries(board))
    assert all(phase in text for phase in PHASES)
