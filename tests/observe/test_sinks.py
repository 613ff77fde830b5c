"""Numbers besides metrics.jsonl: real files of TensorBoard, MLflow and W&B, and their faults."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest
from observe.nodes import wait_until
from pydantic import ValidationError

from vidgen.config.load import load_run
from vidgen.config.run import RunConfig
from vidgen.errors import ConfigError, Diverged, Interrupted, TrainingError
from vidgen.observe.recorder import Recorder, outcome_of
from vidgen.observe.sink import Beside, Sink, without_secrets
from vidgen.observe.trackers import open_trackers
from vidgen.storage.run_folder import RunFolder


def config_with(tmp_path: Path, *settings: str) -> tuple[RunConfig, RunFolder]:
    config = load_run("shapes-demo", [f"run={tmp_path / 'run'}", *settings])
    return config, RunFolder(str(config.run))


def record(config: RunConfig, folder: RunFolder, steps: range) -> None:
    with Recorder(
        folder, step=steps.start, show=lambda line: None, sinks=open_trackers(config, folder)
    ) as recorder:
        for step in steps:
            recorder.write(step + 1, {"loss": 1 / (step + 1), "lr": 1e-3})


def test_tensorboard_files_are_in_the_run_folder(tmp_path: Path) -> None:
    loading = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="extra 'tensorboard'"
    )
    config, folder = config_with(tmp_path, "observe.tensorboard=true")
    record(config, folder, range(3))
    events = loading.EventAccumulator(f"{folder.url}/tensorboard").Reload()
    found = {
        each.step: each.tensor_proto.float_val or each.tensor_proto.double_val
        for each in events.Tensors("loss")
    }
    assert list(found) == [1, 2, 3]


def test_tensorboard_files_reach_a_bucket(tmp_path: Path, s3_bucket: str) -> None:
    pytest.importorskip("tensorboard", reason="extra 'tensorboard'")
    config, _ = config_with(tmp_path, "observe.tensorboard=true")
    folder = RunFolder(f"{s3_bucket}/run")
    record(config, folder, range(3))
    assert [each.size > 0 for each in folder.store.list("tensorboard/")] == [True]


def test_mlflow_goes_on_with_the_run_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the light client has no database
    tracking = pytest.importorskip("mlflow.tracking", reason="extra 'mlflow'")
    uri = (tmp_path / "mlruns").as_uri()
    config, folder = config_with(tmp_path, f"observe.mlflow.uri={uri}")
    record(config, folder, range(3))
    record(config, folder, range(3, 5))
    client = tracking.MlflowClient(tracking_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("vidgen").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [(each.step, each.value) for each in history] == [
        (n, pytest.approx(1 / n)) for n in range(1, 6)
    ]
    assert run.data.params["train.steps"] == str(config.train.steps)
    assert run.info.status == "FINISHED"


def test_wandb_keeps_an_offline_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", reason="extra 'wandb'")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_API_KEY", "a" * 40)
    config, folder = config_with(tmp_path, "observe.wandb.mode=offline")
    record(config, folder, range(3))
    (file,) = tmp_path.rglob("*.wandb")
    assert b"loss" in file.read_bytes()
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"a" * 40 not in kept


def test_a_missing_package_is_named_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    config, folder = config_with(tmp_path, "observe.tensorboard=true")
    with pytest.raises(ConfigError, match=r"'tensorboard' is not installed.*vidgen\[tensorboard\]"):
        open_trackers(config, folder)


def test_a_password_in_a_url_is_refused(tmp_path: Path) -> None:
    with pytest.raises((ConfigError, ValidationError), match="MLFLOW_TRACKING_PASSWORD"):
        config_with(tmp_path, "observe.mlflow.uri=https://me:secret@mlflow.example")


class Broken(Sink):
    def line(self, step: int, values: Mapping[str, float]) -> None:
        raise ConnectionError("https://me:pass@host refused key=sekrit-value")


def test_a_sink_that_fails_stops_nothing_and_tells_no_secret(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "sekrit-value")
    with (
        caplog.at_level(logging.WARNING),
        Recorder(
            RunFolder(str(tmp_path)),
            step=0,
            show=lambda line: None,
            sinks=[Beside("tracker", Broken)],
        ) as recorder,
    ):
        for step in range(20):
            recorder.write(step + 1, {"loss": 1.0})
    assert len(list(RunFolder(str(tmp_path)).metrics())) == 20
    assert caplog.messages == [
        "tracker gets no more numbers, training goes on: "
        "ConnectionError: https://***@host refused key=***"
    ]


def test_a_slow_sink_loses_lines_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    go, seen = threading.Event(), []

    class Slow(Sink):
        def line(self, step: int, values: Mapping[str, float]) -> None:
            go.wait(20)
            seen.append(step)

    sink = Beside("tracker", Slow)
    for step in range(1200):
        sink.line(step, {"loss": 1.0})
    go.set()
    wait_until(lambda: len(seen) >= 1000, 20)
    sink.close("done")
    assert "lines are missing there" in caplog.text
    assert len(seen) + int(caplog.text.split(" lines")[0].split()[-1]) == 1200


def test_secrets_are_taken_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "abcdef123456")
    monkeypatch.setenv("HOME_TOWN", "Springfield")
    text = without_secrets(ValueError("abcdef123456 s3://user:pw@b/c Springfield"))
    assert text == "ValueError: *** s3://***@b/c Springfield"


def test_outcomes() -> None:
    kinds = [None, Interrupted, KeyboardInterrupt, Diverged, TrainingError, ZeroDivisionError]
    assert [outcome_of(kind) for kind in kinds] == [
        "done", "interrupted", "interrupted", "not_finite", "failed", "failed",
    ]  # fmt: skip


def test_starts_are_counted_even_when_their_lines_are_dropped(tmp_path: Path) -> None:
    folder = RunFolder(str(tmp_path))
    for _ in range(3):  # it fails at step 5 each time, before the first checkpoint
        with Recorder(folder, step=0, show=lambda line: None) as recorder:
            recorder.write(5, {"loss": 1.0})
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["starts"] for line in lines] == [3]
    with Recorder(folder, step=5, show=lambda line: None) as recorder:
        recorder.preempted(6)
    assert [line.get("preemptions") for line in folder.metrics()] == [None, 1]
