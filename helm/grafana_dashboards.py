"""vidgen's five dashboards. `python helm/generate.py` writes them into the chart as JSON."""

from __future__ import annotations

from grafana_machinery import data, health, sweep
from grafana_runs import fleet, run

DASHBOARDS = {"fleet": fleet, "run": run, "sweep": sweep, "data": data, "health": health}
