"""One port a node: real processes, killed and started again, and what a scrape says of them."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from observe.nodes import Node, free_port, wait_until

from vidgen.observe.board import Board
from vidgen.observe.exporter import Exporter, wanted_port
from vidgen.observe.metric_table import (
    DATA_BYTES,
    METRICS,
    RUN_OUTCOME,
    SWEEP_BEST,
    SWEEP_TRIALS,
    TRIAL_STATES,
)
from vidgen.observe.run_metrics import About, RunMetrics
from vidgen.observe.spool import merge


@pytest.fixture
def node() -> Iterator[Node]:
    made = Node()
    yield made
    made.close()


def test_ranks_of_a_node_share_a_port_and_leave_nothing_behind(node: Node) -> None:
    first, second = node.start(0, 10), node.start(1, 20)
    node.until({"0": 10, "1": 20})
    names = {name for name, _ in node.series()}
    assert "vidgen_node_memory_used_bytes" in names
    for name in names:
        base = name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum")
        assert base in METRICS, name

    first.send_signal(signal.SIGKILL)
    first.wait()
    assert node.clips() == {"1": 20}  # at once, though its file is still there

    node.start(0, 3)  # the restarted worker: its counters begin again
    node.until({"0": 3, "1": 20})

    assert second.stdin is not None
    second.stdin.close()  # ends as it should: its last values stay for a moment, then go
    second.wait(timeout=10)
    assert node.clips() == {"0": 3, "1": 20}
    node.until({"0": 3}, seconds=5)


def test_of_two_that_say_they_are_the_same_rank_the_newer_counts(node: Node) -> None:
    node.start(0, 1)
    node.until({"0": 1})
    newer = node.start(0, 2)
    node.until({"0": 2})
    newer.kill()
    newer.wait()
    assert node.clips() == {"0": 1}


def test_a_killed_server_comes_back_and_an_idle_one_goes(node: Node) -> None:
    rank = node.start(0, 5)
    node.until({"0": 5})
    server = node.server()
    assert server is not None
    os.kill(server, signal.SIGKILL)
    node.until({"0": 5})
    assert node.server() not in (None, server)
    rank.kill()
    rank.wait()
    wait_until(lambda: node.server() is None, 10)


def test_a_port_in_use_is_said_once_and_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as other, caplog.at_level(logging.WARNING):
        other.bind(("", 0))
        other.listen()
        port = other.getsockname()[1]
        monkeypatch.setattr("vidgen.observe.exporter._EVERY_S", 0.2)
        with Exporter(port=port, sweep="s"):
            wait_until(lambda: bool(caplog.messages), 20)
            time.sleep(0.5)
    assert caplog.messages == [
        f"no metrics are exported: cannot listen on port {port}: Address already in use"
    ]


def test_without_a_port_nothing_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VIDGEN_METRICS_PORT", raising=False)
    threads = threading.active_count()
    with Exporter(sweep="s") as exporter:
        for state in TRIAL_STATES:
            exporter.board.set(SWEEP_TRIALS, 1, state=state)
        assert threading.active_count() == threads


@pytest.mark.parametrize("given", ["http", "0", "70000", "-1"])
def test_a_port_that_is_none_is_said(
    given: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("VIDGEN_METRICS_PORT", given)
    assert wanted_port() is None
    assert f"VIDGEN_METRICS_PORT={given} is no port" in caplog.text


def test_a_folder_of_somebody_else_is_not_used(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    port = free_port()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    link = f"{tmp_path}/vidgen-metrics-{os.getuid()}-{port}"
    os.symlink("/tmp", link)
    with Exporter(port=port, sweep="s"):
        wait_until(lambda: bool(caplog.messages), 5)
    assert "belongs to somebody else" in caplog.text


def test_a_row_with_one_state_and_totals_counted_elsewhere() -> None:
    board = Board(run="r", rank="0")
    board.only(RUN_OUTCOME, outcome="running")
    board.only(RUN_OUTCOME, outcome="done")
    board.set(SWEEP_BEST, 0.5, sweep="s", metric="val_loss")  # a label may be called as it likes
    for total in (5.0, 9.0, 3.0):  # a total never goes down
        board.count_to(DATA_BYTES, total)
    lines = [line for line in board.text().splitlines() if not line.startswith("#")]
    assert lines == [
        'vidgen_run_outcome{outcome="done",run="r"} 1.0',
        'vidgen_sweep_best_score{metric="val_loss",sweep="s"} 0.5',
        'vidgen_data_read_bytes_total{rank="0",run="r"} 9.0',
    ]


def test_what_a_rank_tells_of_its_data_comes_from_its_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VIDGEN_METRICS_PORT", raising=False)
    about = About(
        run="r", rank=1, info={}, steps=9, step=lambda: 3, clips_per_step=4, my_clips=2.0
    )  # fmt: skip
    rank = RunMetrics(about)
    rank.line(3, {"ready_batches": 4.0, "set_aside": 2.0, "loss": 0.5})
    lines = rank._exporter.board.text().splitlines()
    rank.close("done")
    assert 'vidgen_data_ready_batches{rank="1",run="r"} 4.0' in lines
    assert 'vidgen_data_set_aside_clips{rank="1",run="r"} 2.0' in lines
    assert not any(line.startswith("vidgen_loss{") for line in lines)  # rank 0 tells it


def test_merging_keeps_each_metric_together() -> None:
    boards = [Board(sweep=name) for name in "ab"]
    for board in boards:
        board.set(SWEEP_TRIALS, 1, state="running")
    text = merge(board.text() for board in boards)
    assert text.count("# TYPE vidgen_sweep_trials gauge") == 1
    assert text.count("vidgen_sweep_trials{") == 2
