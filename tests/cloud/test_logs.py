"""logs and progress: from the run folder, from the head, of one rank, after the end."""

from __future__ import annotations

import json
import threading
import time

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes
from fake_operator import TOKEN, FakeOperator

import vidgen.cloud.commands.logs
import vidgen.cloud.follow
import vidgen.cloud.stopping
from vidgen.cloud.shipper import Shipper
from vidgen.storage.open import open_store


def test_logs_follow_what_is_shipped_through_a_new_head_to_the_end(
    cli: Cli, running: FakeOperator, store_url: str
) -> None:
    store = open_store(f"{store_url}/runs/run-a")
    first = Shipper(store, "20261121T000000Z", every_s=0.05)
    first.add(b"one\ntw")

    def life() -> None:
        time.sleep(0.4)
        first.add("o\nthree ü\n".encode())
        first.close(5)
        second = Shipper(store, "20261121T000500Z", every_s=0.05)
        second.add(b"again from step 500\n")
        second.add(b"done")
        second.close(5)
        running.end("run-a", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")

    threading.Thread(target=life, daemon=True).start()
    result = cli("logs", "run-a", "-f")
    assert result.out == "one\ntwo\nthree ü\nagain from step 500\ndone"
    assert result.code == 0
    assert cli("logs", "run-a").out == result.out
    assert cli("logs", "run-a", "--previous").out == "one\ntwo\nthree ü\n"
    running.cluster.remove("rayjobs", "run-a")
    assert cli("logs", "run-a").out == result.out  # the cluster has forgotten it


def test_following_logs_ends_with_everything_when_the_run_is_deleted(
    cli: Cli, running: FakeOperator, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipper = Shipper(open_store(f"{store_url}/runs/run-a"), "20261121T000000Z", every_s=0.05)
    shipper.add(b"one\n")

    def program_ends() -> None:
        """While its RayJob is gone already."""
        shipper.add(b"last words")
        shipper.close(5)

    monkeypatch.setattr(vidgen.cloud.commands.logs, "wait_for_last_words", program_ends)
    cluster = running.cluster

    def deleted(method: str, path: str) -> None:
        if cluster.requests[-1][2].get("watch") == "true":  # so it was seen running
            cluster.remove("rayjobs", "run-a")

    cluster.fault = deleted
    result = cli("logs", "run-a", "-f")
    assert (result.code, result.out) == (1, "one\nlast words")
    assert "is not on the cluster any more" in result.err
    afterwards = cli("logs", "run-a", "-f")
    assert (afterwards.code, afterwards.out) == (0, result.out)


def test_following_a_run_that_never_was_says_so(cli: Cli, store_url: str) -> None:
    result = cli("logs", "run-z", "-f")
    assert result.code == 1
    assert "no run 'run-z'" in result.err


def test_logs_of_one_rank(cli: Cli, running: FakeOperator, store_url: str) -> None:
    shipper = Shipper(open_store(f"{store_url}/runs/run-a"), "20261121T000000Z")
    shipper.add(
        b"(TrainController pid=7) Started training worker group of size 2: \n"
        b"(TrainController pid=7) - (ip=10.0.0.1, pid=11) world_rank=0, local_rank=0\n"
        b"(TrainController pid=7) - (ip=10.0.0.2, pid=11) world_rank=1, local_rank=0\n"
        b"(RayTrainWorker pid=11) rank zero speaks\n"
        b"(RayTrainWorker pid=11, ip=10.0.0.2) rank one speaks\n"
        b"(TrainController pid=7) - (ip=10.0.0.3, pid=12) world_rank=1, local_rank=0\n"
        b"(RayTrainWorker pid=12, ip=10.0.0.3) rank one moved\n"
    )
    shipper.close(5)
    assert cli("logs", "run-a", "--rank", "1").out == "rank one speaks\nrank one moved\n"


def test_logs_come_from_the_head_when_the_store_is_out_of_reach(
    cli: Cli, running: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    import vidgen.storage.s3

    monkeypatch.setattr(vidgen.storage.s3, "_LONGEST_WAIT", 0.01)
    result = cli("logs", "run-a")
    assert result.out == running.output
    assert "cannot be read from here" in result.err
    assert running.asked[-1] == ("GET", "/api/jobs/run-a-j/logs", f"Bearer {TOKEN}")


def test_logs_of_a_run_that_never_shipped_show_kuberays_last_lines(
    cli: Cli, running: FakeOperator
) -> None:
    running.end("run-a", jobDeploymentStatus="Failed", message="exit code 1, last:\nboom")
    assert "boom" in cli("logs", "run-a").out


def test_previous_shows_a_crashed_container(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    pod = cluster.get("pods", "run-a-x1-head")
    pod["status"]["containerStatuses"] = [{"name": "ray-head", "restartCount": 2}]
    cluster.logs["run-a-x1-head", "ray-head", True] = "raylet: no room in /tmp\n"
    result = cli("logs", "run-a", "--previous")
    assert result.out == "==> run-a-x1-head, before restart 2\nraylet: no room in /tmp\n"


def test_status_tells_progress_and_time_left(
    cli: Cli, running: FakeOperator, store_url: str
) -> None:
    rows = [{"step": n, "time": 1000 + n / 2, "loss": 1 / n} for n in (10, 20, 30, 40)]
    text = "".join(json.dumps(row) + "\n" for row in rows) + '{"step": 50, "ti'
    open_store(f"{store_url}/runs/run-a").write("metrics.jsonl", text.encode())
    shown = cli("status", "run-a").out
    assert "step 40 of 100 (40 %), loss 0.025, 2 steps/s, about 30 s left" in shown
    told = json.loads(cli("status", "run-a", "--json").out)
    assert (told["step"], told["steps"], told["seconds_left"]) == (40, 100, 30)
