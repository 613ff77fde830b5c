"""The series of one process: rows of the metric table, and the labels that name the process."""

from __future__ import annotations

from typing import Any

import prometheus_client as prom

from vidgen.observe.metric_table import Metric

# A second series per counter that says when it began; nobody asks for it.
prom.disable_created_metrics()  # type: ignore[no-untyped-call]


class Board:
    """Holds values until they are read as text. Safe to use from several threads.

    Args:
        own: labels that every series here has: run and rank, sweep, or node.
    """

    def __init__(self, **own: str) -> None:
        self._own = own
        self._registry = prom.CollectorRegistry(auto_describe=False)
        self._rows: dict[str, Any] = {}
        self._children: dict[tuple[str, tuple[str, ...]], Any] = {}
        self._last: dict[tuple[str, tuple[str, ...]], float] = {}

    def set(self, metric: Metric, value: float, /, **labels: str) -> None:
        """A gauge's value."""
        assert metric.kind == "gauge"
        self._child(metric, labels).set(value)

    def add(self, metric: Metric, amount: float = 1.0, /, **labels: str) -> None:
        """Count; 0 makes the series exist."""
        assert metric.kind == "counter"
        self._child(metric, labels).inc(amount)

    def count_to(self, metric: Metric, total: float, /, **labels: str) -> None:
        """Bring a counter to a total that is counted elsewhere; never down."""
        key = self._key(metric, labels)
        self.add(metric, max(0.0, total - self._last.get(key, 0.0)), **labels)
        self._last[key] = max(total, self._last.get(key, 0.0))

    def observe(self, metric: Metric, value: float, /, **labels: str) -> None:
        """One more measurement of a histogram."""
        assert metric.kind == "histogram"
        self._child(metric, labels).observe(value)

    def only(self, metric: Metric, /, **labels: str) -> None:
        """Set 1 for these labels, and drop the row's other series: one state out of several."""
        self.clear(metric)
        self.set(metric, 1, **labels)

    def clear(self, metric: Metric) -> None:
        """Drop every series of a row."""
        if metric.name in self._rows:
            self._rows[metric.name].clear()
            for key in [key for key in self._children if key[0] == metric.name]:
                del self._children[key]

    def text(self) -> str:
        """All series in Prometheus' text format."""
        return prom.generate_latest(self._registry).decode()

    def _key(self, metric: Metric, labels: dict[str, str]) -> tuple[str, tuple[str, ...]]:
        given = {**self._own, **labels}
        return metric.name, tuple(given[name] for name in metric.labels)

    def _child(self, metric: Metric, labels: dict[str, str]) -> Any:
        key = self._key(metric, labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = self._row(metric).labels(*key[1])
        return child

    def _row(self, metric: Metric) -> Any:
        row = self._rows.get(metric.name)
        if row is None:
            given: dict[str, Any] = {"registry": self._registry, "labelnames": metric.labels}
            if metric.kind == "histogram":
                row = prom.Histogram(metric.name, metric.help, buckets=metric.buckets, **given)
            else:
                make = prom.Gauge if metric.kind == "gauge" else prom.Counter
                row = make(metric.name, metric.help, **given)
            self._rows[metric.name] = row
        return row
