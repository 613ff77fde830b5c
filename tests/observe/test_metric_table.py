"""The table of metrics: names as Prometheus wants them, few labels, everything said."""

from __future__ import annotations

import re

import pytest

from vidgen.observe.metric_table import METRICS, PREFIX, Metric

# What may label a series without the number of series growing as a run goes on.
BOUNDED = {
    "run", "rank", "sweep", "node", "gpu", "gpu_uuid", "model", "family", "folder", "workers",
    "outcome", "turn", "part", "phase", "score", "protocol", "split", "volume", "severity",
    "state", "metric",
}  # fmt: skip
SUFFIX = {
    "seconds": "_seconds", "bytes": "_bytes", "ratio": "_ratio", "watts": "_watts",
    "celsius": "_celsius", "hertz": "_hertz", "per second": "_per_second",
    "flops": "_flops_per_second", "unix time": "_timestamp_seconds",
}  # fmt: skip


@pytest.mark.parametrize("metric", METRICS.values(), ids=lambda metric: metric.name)
def test_rows(metric: Metric) -> None:
    assert re.fullmatch(PREFIX + r"[a-z][a-z_]*[a-z]", metric.name)
    assert metric.help.endswith(".")
    assert set(metric.labels) <= BOUNDED
    assert len(set(metric.labels)) == len(metric.labels)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(metric.buckets)
    if metric.unit:
        bare = metric.name.removesuffix("_total")
        # '..._gpu_seconds_spent': what is counted may follow its unit.
        assert SUFFIX[metric.unit].strip("_") in bare
    # A series belongs to a run, a sweep, a rank or a node: without that it would collide.
    assert metric.labels[0] in ("run", "sweep", "node")
