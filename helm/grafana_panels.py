"""The few shapes that vidgen's dashboards are made of, on Grafana's own types."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import StackingMode
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    VariableRefresh,
    VariableSort,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from vidgen.observe import metric_table as m
from vidgen.observe.metric_table import Metric

# Whatever Prometheus the reader chooses at the top.
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG = "vidgen"
# What the variables at the top choose. All is '.*', so that a label may also be missing.
IN_NAMESPACE = 'namespace=~"$namespace"'
OF_RUN = f'{IN_NAMESPACE}, run=~"$run"'
OF_RANK = f'{OF_RUN}, rank=~"$rank"'
OF_SWEEP = f'{IN_NAMESPACE}, sweep=~"$sweep"'

Unit = Literal[
    "short", "s", "bytes", "Bps", "percentunit", "watt", "celsius", "hertz", "reqps", "cps",
    "flops", "none", "currencyUSD", "sci",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A title, what it means, and queries with their legends.

    Attributes:
        kind: lines over time, one number, or a table of labels.
        queries: (PromQL, legend).
        width: of 24 columns.
        stacked: add the lines up.
    """

    title: str
    text: str
    unit: Unit
    queries: Sequence[tuple[str, str]]
    kind: Literal["lines", "number", "table"] = "lines"
    width: int = 8
    stacked: bool = False

    def built(self) -> Any:
        make: dict[str, Callable[[], Any]] = {
            "lines": timeseries.Panel,
            "number": stat.Panel,
            "table": table.Panel,
        }
        panel = make[self.kind]().title(self.title).description(self.text).datasource(SOURCE)
        panel = panel.unit(self.unit).span(self.width)
        panel = panel.height(4 if self.kind == "number" else 8)
        for index, (query, legend) in enumerate(self.queries):
            target = prometheus.Dataquery().expr(query).legend_format(legend)
            target = target.ref_id(chr(ord("A") + index)).datasource(SOURCE)
            if self.kind != "lines":
                target = target.instant()
            if self.kind == "table":
                target = target.format(PromQueryFormat.TABLE)
            panel = panel.with_target(target)
        if self.kind == "lines":
            panel = panel.fill_opacity(20 if self.stacked else 5)
            if self.stacked:
                panel = panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
        if self.kind == "table":
            unread = ("Time", "Value", "__name__", "instance", "job", "endpoint", "container")
            hide = {"excludeByName": dict.fromkeys(unread, True)}
            panel = panel.with_transformation(
                DataTransformerConfig(id_val="organize", options=hide)
            )
        return panel


Rows = dict[str, list[Panel]]


def dashboard(name: str, title: str, text: str, variables: Sequence[Any], rows: Rows) -> str:
    """A dashboard as JSON."""
    board = (
        build.Dashboard(title)
        .uid(f"vidgen-{name}")
        .description(text)
        .tags([TAG])
        .timezone("browser")
        .refresh("30s")
        .time("now-3h", "now")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .readonly()
        .link(
            build.DashboardLink("vidgen")
            .type(DashboardLinkType.DASHBOARDS)
            .tags([TAG])
            .as_dropdown(True)
            .include_vars(True)
            .keep_time(True)
        )
        .with_variable(
            build.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
        )
    )
    for variable in variables:
        board = board.with_variable(variable)
    for row, panels in rows.items():
        board = board.with_row(build.Row(row))
        for panel in panels:
            board = board.with_panel(panel.built())
    return json.dumps(json.loads(JSONEncoder().encode(board.build())), indent=2) + "\n"


def choice(label: str, metric: Metric, within: str = "") -> Any:
    """A variable whose values are those of a label of a metric."""
    return (
        build.QueryVariable(label)
        .label(label)
        .datasource(SOURCE)
        .query(f"label_values({metric.name}{{{within}}}, {label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current({"text": "All", "value": "$__all"})
    )


def given(name: str, label: str, value: str) -> Any:
    """A variable that the reader types in."""
    return build.TextBoxVariable(name).label(label).default_value(value)


def of(metric: Metric, select: str, *more: str) -> str:
    """A metric's series: 'vidgen_loss{namespace=~"$namespace", part="total"}'."""
    return f"{metric.name}{{{', '.join(filter(None, [select, *more]))}}}"


def rate(metric: Metric, select: str, *more: str, suffix: str = "") -> str:
    """Growth per second of a counter, or of a histogram's _sum, _count or _bucket."""
    name = of(metric, select, *more).replace(metric.name, metric.name + suffix, 1)
    return f"rate({name}[$__rate_interval])"


def quantile(q: float, metric: Metric, select: str, by: str) -> str:
    """Of a histogram."""
    buckets = rate(metric, select, suffix="_bucket")
    return f"histogram_quantile({q:g}, sum by (le, {by}) ({buckets}))"


NAMESPACE = choice("namespace", m.NODE_PROCESSES)
RUN = choice("run", m.STEP, IN_NAMESPACE)
RANK = choice("rank", m.LAST_STEP_TIME, OF_RUN)
SWEEP = choice("sweep", m.SWEEP_TRIALS, IN_NAMESPACE)
# Gives the series of a rank the reading of its GPU.
MINE = "* on (gpu_uuid) group_left () "
