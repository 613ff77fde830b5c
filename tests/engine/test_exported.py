"""What a run in this process leaves on the exporter's port, and how its end is told."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine.conftest import MakeConfig
from observe.nodes import Node

from vidgen.engine.train import train
from vidgen.errors import Diverged


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node(linger_s=20)
    for name in ("VIDGEN_METRICS_PORT", "VIDGEN_METRICS_LINGER_S"):
        monkeypatch.setenv(name, made.env[name])
    yield made
    made.close()


def values(node: Node) -> dict[str, dict[str, float]]:
    """By metric, by the labels that are not run or rank."""
    found: dict[str, dict[str, float]] = {}
    for (name, labels), value in node.series().items():
        rest = " ".join(text for label, text in labels if label not in ("run", "rank"))
        found.setdefault(name, {})[rest] = value
    return found


def test_a_run_without_ray(node: Node, make_config: MakeConfig) -> None:
    train(make_config())
    seen = values(node)
    assert seen["vidgen_run_outcome"] == {"done": 1}
    assert seen["vidgen_step"] == {"": 8}
    assert seen["vidgen_data_clips_total"] == {"": 64}
    assert seen["vidgen_epoch"] == {"": 4}  # 8 steps of 8 clips, of 16
    assert seen["vidgen_loss"].keys() >= {"total model", "error model", "total critic"}
    assert seen["vidgen_validation_loss"]["total"] > 0
    assert seen["vidgen_gradient_norm"].keys() == {"model", "critic"}
    counts = seen["vidgen_phase_seconds_count"]
    assert counts["data_wait"] == 8
    assert counts["forward_backward"] == 16  # two turns
    assert counts["validate"] >= 1
    assert seen["vidgen_step_seconds_count"][""] >= 7  # the last one has no next step to end it
    assert seen["vidgen_checkpoint_bytes"][""] > 1000
    assert seen["vidgen_checkpoint_seconds"][""] > 0
    assert seen["vidgen_data_read_bytes_total"][""] > 1000
    assert seen["vidgen_dataset_sources"] == {"kept": 24, "rejected": 0, "skipped": 0}
    assert seen["vidgen_restarts_total"] == {"": 0}
    assert seen["vidgen_model_flops_per_second"][""] > 0
    assert 0 < seen["vidgen_mfu_ratio"][""] < 1


def test_a_loss_that_is_no_number_is_told_after_the_end(
    node: Node, make_config: MakeConfig
) -> None:
    with pytest.raises(Diverged):
        train(make_config(model={"explode_at": 5}))
    seen = values(node)
    assert seen["vidgen_run_outcome"] == {"not_finite": 1}
    assert seen["vidgen_step"] == {"": 6}
