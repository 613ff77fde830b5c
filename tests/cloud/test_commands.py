"""submit, logs, cancel, resume, delete, fetch: against a cluster, a Ray head and an S3 server."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from cloud_setup import PLATFORM, Cli
from crd_schemas import problems
from fake_kubernetes import FakeKubernetes, status
from fake_operator import TOKEN, FakeOperator

import vidgen.cloud.commands.logs
import vidgen.cloud.follow
import vidgen.cloud.stopping
from vidgen.cloud.shipper import Shipper
from vidgen.storage.open import open_store

CONFIG = """
name: shapes
data: {synthetic: {clips: 8}, frames: 8}
model: {family: flow, conditions: [text]}
train: {steps: 100, batch_size: 64}
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidgen.cloud.stopping, "_POLL_S", 0.02)
    monkeypatch.setattr(vidgen.cloud.follow, "_AT_LEAST_EVERY_S", 1)


@pytest.fixture
def store_url(cluster: FakeKubernetes, s3_bucket: str) -> str:
    """The platform's object store, on the S3 server."""
    url = f"{s3_bucket}/team"
    text = PLATFORM.replace("s3://clips/team", url)
    cluster.put(
        "configmaps",
        {"metadata": {"name": "vidgen-platform"}, "data": {"platform.yaml": text}},
    )
    return url


@pytest.fixture
def operator(cluster: FakeKubernetes) -> Iterator[FakeOperator]:
    made = FakeOperator(cluster)
    yield made
    made.close()


@pytest.fixture
def config(tmp_path: Path) -> str:
    file = tmp_path / "shapes.yaml"
    file.write_text(CONFIG)
    return str(file)


@pytest.fixture
def running(cli: Cli, operator: FakeOperator, config: str, store_url: str) -> FakeOperator:
    """run-a, submitted and running."""
    assert cli("submit", config, "--pool", "a100", "--name", "run-a").code == 0
    operator.run("run-a")
    return operator


def changes(cluster: FakeKubernetes) -> list[tuple[str, str]]:
    return [(m, p.rsplit("/", 1)[-1]) for m, p, _ in cluster.requests if m != "GET"]


# -- submit --------------------------------------------------------------------------------------


def test_submit_creates_exactly_what_the_dry_run_printed(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str, tmp_path: Path
) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "mine.py").write_text("x = 1")
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a", "--working-dir", str(code)]
    dry = cli(*arguments, "--dry-run", "-o", "yaml")
    printed = yaml.safe_load(dry.out)
    assert changes(cluster) == []
    assert list(open_store(store_url).list()) == []

    assert cli(*arguments).code == 0
    made = cluster.get("rayjobs", "run-a")
    assert {key: made[key] for key in ("spec", "kind", "apiVersion")} == {
        key: printed[key] for key in ("spec", "kind", "apiVersion")
    }
    assert printed["metadata"].items() <= made["metadata"].items()
    assert problems(printed) == []
    (archive,) = open_store(store_url).list("code/")
    assert made["spec"]["runtimeEnvYAML"] == f"working_dir: {store_url}/{archive.key}\n"
    creates = [query for method, _, query in cluster.requests if method == "POST"]
    assert creates == [{"fieldValidation": "Strict"}]


def test_submit_again_is_the_same_run_and_another_config_is_refused(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert cli(*arguments).code == 0
    uid = cluster.get("rayjobs", "run-a")["metadata"]["uid"]
    again = cli(*arguments)
    assert (again.code, "already submitted" in again.err) == (0, True)
    other = cli(*arguments, "--set", "train.steps=7")
    assert other.code == 1
    assert "another run is called 'run-a'" in other.err
    assert cluster.get("rayjobs", "run-a")["metadata"]["uid"] == uid
    assert cluster.names("rayjobs") == ["run-a"]


def test_submit_again_tells_what_the_run_does(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, config: str
) -> None:
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert "it is the same run: running." in cli(*arguments).err
    assert cli("cancel", "run-a", "--now").code == 0
    again = cli(*arguments)
    assert "it is the same run: cancelled. Go on with it: vidgen-cloud resume run-a" in again.err
    assert cluster.names("rayjobs") == ["run-a"]


def test_a_resumed_run_is_never_submitted_beside_itself(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, config: str
) -> None:
    """Resumed elsewhere, a run gives its first RayJob's name free; both would write one folder."""
    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    assert cli("cancel", "run-a", "--now").code == 0
    assert cli("resume", "run-a", "--pool", "v100-spot").code == 0
    assert cluster.names("rayjobs") == ["run-a-r2"]
    again = cli(*arguments)
    assert again.code == 1
    assert "run 'run-a' was resumed: it is RayJob run-a-r2 now" in again.err
    assert cluster.names("rayjobs") == ["run-a-r2"]


def test_submit_whose_answer_is_lost_makes_one_run(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    """The object is made, the connection breaks before the answer: the next try finds it."""

    def lose(method: str, path: str) -> str | None:
        if method != "POST" or cluster.fault is None:
            return None
        cluster.fault = None
        dry = cli_dry
        cluster.put("rayjobs", dry)
        return "drop"

    arguments = ["submit", config, "--pool", "a100", "--name", "run-a"]
    cli_dry = yaml.safe_load(cli(*arguments, "--dry-run", "-o", "yaml").out)
    cluster.fault = lose
    result = cli(*arguments)
    assert result.code == 0
    assert "already submitted" in result.err
    assert cluster.names("rayjobs") == ["run-a"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--pool", "a10"], "did you mean 'a100'"),
        (["--pool", "a100", "--set", "train.step=1"], "did you mean 'train.steps'"),
        (["--pool", "a100", "--name", "Run_A"], "'Run_A' is no run name"),
        (["--pool", "a100", "--workers", "1000"], "which has 4"),
        (["--pool", "a100", "--set", "run=s3://x/y"], "Leave `run` out"),
        ([], "Choose one: --pool"),
    ],
)
def test_wrong_submits_are_refused_before_anything_is_sent(
    cli: Cli, cluster: FakeKubernetes, config: str, arguments: list[str], words: str
) -> None:
    result = cli("submit", config, *arguments)
    assert result.code == 2
    assert words in result.err or words.replace("train.", "") in result.err
    assert changes(cluster) == []


def test_a_refused_create_shows_the_servers_words(
    cli: Cli, cluster: FakeKubernetes, config: str, store_url: str
) -> None:
    text = 'admission webhook "policy" denied the request: no GPUs on Fridays'
    cluster.fault = lambda m, p: (400, status(400, "BadRequest", text)) if m == "POST" else None
    result = cli("submit", config, "--pool", "a100", "--name", "run-a")
    assert result.code == 1
    assert "no GPUs on Fridays" in result.err
    assert cluster.names("rayjobs") == []


def test_submit_and_wait_ends_with_the_outcome(
    cli: Cli, operator: FakeOperator, config: str, store_url: str
) -> None:
    import threading

    def life() -> None:
        while "run-a" not in operator.cluster.names("rayjobs"):
            time.sleep(0.02)
        operator.run("run-a")
        time.sleep(0.3)
        operator.end(
            "run-a", jobDeploymentStatus="Failed", jobStatus="FAILED", reason="AppFailed",
            message="Job entrypoint command failed with exit code 1, last:\nerror: no more disk\n",
        )  # fmt: skip

    threading.Thread(target=life, daemon=True).start()
    result = cli("submit", config, "--pool", "a100", "--name", "run-a", "--wait")
    assert result.code == 1
    assert "running" in result.out
    assert "error: no more disk" in result.out


def test_no_platform_says_how_to_get_one(cli: Cli, cluster: FakeKubernetes, config: str) -> None:
    cluster.remove("configmaps", "vidgen-platform")
    result = cli("submit", config, "--pool", "a100")
    assert result.code == 1
    assert "helm install" in result.err


# -- logs and progress ---------------------------------------------------------------------------


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


# -- cancel, resume, delete ----------------------------------------------------------------------


def test_cancel_saves_waits_and_confirms(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    result = cli("cancel", "run-a")
    assert result.code == 0
    assert ("POST", "/api/jobs/run-a-j/stop", f"Bearer {TOKEN}") in running.asked
    assert "its GPUs are free" in result.err
    assert cluster.names("pods") == []
    assert cluster.names("rayjobs") == ["run-a"]
    assert cli("cancel", "run-a").err.startswith("run-a had already ended: cancelled")


def test_cancel_now_suspends(cli: Cli, cluster: FakeKubernetes, running: FakeOperator) -> None:
    result = cli("cancel", "run-a", "--now")
    assert result.code == 0
    assert not any(method == "POST" for method, *_ in running.asked)
    assert cluster.get("rayjobs", "run-a")["spec"]["suspend"] is True
    assert "run-a: cancelled" in result.out
    assert cluster.names("pods") == []


def test_cancel_of_a_run_that_waits_needs_no_head(
    cli: Cli, cluster: FakeKubernetes, operator: FakeOperator, config: str, store_url: str
) -> None:
    cli("submit", config, "--pool", "a100", "--name", "run-a")
    assert cli("cancel", "run-a").code == 0
    assert operator.asked == []
    assert cli("status", "run-a").out.splitlines()[1] == "state      cancelled"


def test_cancel_outlasts_an_api_server_that_is_away(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    """It goes away right after the stop was asked for."""
    failures: list[str] = []

    def fault(method: str, path: str) -> str | None:
        if running.asked and "rayjobs" in path and len(failures) < 8:
            failures.append(path)
            return "drop"
        return None

    cluster.fault = fault
    result = cli("cancel", "run-a")
    assert (result.code, len(failures)) == (0, 8)
    assert "waiting for the cluster: cannot reach" in result.err
    assert "its GPUs are free" in result.err
    assert sum(method == "POST" for method, *_ in running.asked) == 1


def test_cancel_without_the_token_stops_nothing_and_says_how(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    answer = status(403, "Forbidden", "secrets is forbidden")
    cluster.fault = lambda method, path: (403, answer) if "/secrets/" in path else None
    result = cli("cancel", "run-a")
    assert result.code == 1
    assert "--now" in result.err
    assert not cluster.get("rayjobs", "run-a")["spec"].get("suspend")
    assert running.asked == []


def test_cancel_that_does_not_end_says_what_is_left(
    cli: Cli, running: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    running.on_stop = lambda: None
    monkeypatch.setattr(vidgen.cloud.stopping, "longest_stop_s", lambda snapshot: 0.1)
    result = cli("cancel", "run-a")
    assert result.code == 1
    assert "still running; pods: run-a-x1-head, run-a-x1-worker" in result.err


def test_cancel_under_kueue_uses_its_switch(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    job = cluster.get("rayjobs", "run-a")
    job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "gpus"
    labels = {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]}
    cluster.put(
        "workloads",
        {
            "apiVersion": "kueue.x-k8s.io/v1beta2",
            "metadata": {"name": "w", "labels": labels},
            "spec": {"active": True},
        },
    )
    import threading

    def kueue() -> None:
        while cluster.get("workloads", "w")["spec"]["active"]:
            time.sleep(0.02)
        job = cluster.get("rayjobs", "run-a")
        cluster.put("rayjobs", {**job, "status": {"jobDeploymentStatus": "Suspended"}})
        running.clear_pods("run-a")

    threading.Thread(target=kueue, daemon=True).start()
    assert cli("cancel", "run-a", "--now").code == 0
    assert "suspend" not in cluster.get("rayjobs", "run-a")["spec"]


def test_resume_makes_a_new_rayjob_on_the_same_folder(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, store_url: str
) -> None:
    assert cli("resume", "run-a").code == 1  # it runs
    cli("cancel", "run-a")
    result = cli("resume", "run-a", "--pool", "v100-spot", "--workers", "4")
    assert result.code == 0
    assert cluster.names("rayjobs") == ["run-a", "run-a-r2"]
    made = cluster.get("rayjobs", "run-a-r2")
    assert f"run={store_url}/runs/run-a" in made["spec"]["entrypoint"]
    assert "--workers 4" in made["spec"]["entrypoint"]
    assert problems(made) == []
    # One run for people: list, status and logs speak of the newest submission.
    (row,) = json.loads(cli("list", "--json").out)
    assert (row["run"], row["pool"]) == ("run-a", "v100-spot")
    running.run("run-a-r2")
    assert json.loads(cli("status", "run-a", "--json").out)["rayjob"] == "run-a-r2"
    assert cli("cancel", "run-a").code == 0
    assert cli("delete", "run-a", "--yes").code == 0
    assert cluster.names("rayjobs") == []


def test_cost_is_of_all_submissions(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An hour on eight GPUs before the resume and a half on four after it."""
    running.end(
        "run-a", jobDeploymentStatus="Complete", jobStatus="STOPPED", endTime="2026-11-21T00:00:16Z"
    )
    assert cli("resume", "run-a", "--workers", "4").code == 0
    running.run("run-a-r2")
    running.end(
        "run-a-r2",
        jobDeploymentStatus="Complete",
        jobStatus="SUCCEEDED",
        endTime="2026-11-20T23:30:16Z",
    )
    told = json.loads(cli("status", "run-a", "--json").out)
    assert told["gpu_hours"] == 10
    assert told["cost"] == pytest.approx(1.25 * 32.77, abs=0.01)
    assert "10 GPU-hours, about 40.96 USD" in cli("status", "run-a").out


def test_resume_of_a_suspended_run_lets_it_go_on(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    cli("cancel", "run-a", "--now")
    assert cli("resume", "run-a").code == 0
    job = cluster.get("rayjobs", "run-a")
    assert job["spec"]["suspend"] is False
    assert "vidgen.dev/cancelled" not in job["metadata"]["annotations"]
    assert cluster.names("rayjobs") == ["run-a"]


def test_resume_of_a_suspended_run_elsewhere_leaves_one_rayjob(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    cli("cancel", "run-a", "--now")
    assert cli("resume", "run-a", "--workers", "16").code == 0
    assert cluster.names("rayjobs") == ["run-a-r2"]


def test_resume_waits_until_the_last_attempts_pods_are_gone(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator
) -> None:
    """A run past its deadline trains on for a while: two writers would damage the folder."""
    import threading

    running._status("run-a", jobDeploymentStatus="Failed", reason="DeadlineExceeded")
    threading.Timer(0.5, running.clear_pods, ["run-a"]).start()
    result = cli("resume", "run-a")
    assert result.code == 0
    assert "Waiting for the last attempt's pods" in result.err
    assert cluster.names("pods") == []


def test_resume_of_a_finished_run_is_refused(cli: Cli, running: FakeOperator) -> None:
    running.end("run-a", jobDeploymentStatus="Complete", jobStatus="SUCCEEDED")
    result = cli("resume", "run-a")
    assert result.code == 1
    assert "has finished all its steps" in result.err


def test_delete_asks_and_spares_a_running_run(
    cli: Cli, cluster: FakeKubernetes, running: FakeOperator, store_url: str
) -> None:
    refused = cli("delete", "run-a", "--yes")
    assert refused.code == 1
    assert "vidgen-cloud cancel run-a" in refused.err
    assert cluster.names("rayjobs") == ["run-a"]
    open_store(f"{store_url}/runs/run-a").write("config.yaml", b"name: a\n")
    assert cli("delete", "run-a", "--yes", "--force").code == 0
    assert cluster.names("rayjobs") == []
    assert open_store(f"{store_url}/runs/run-a").read("config.yaml") == b"name: a\n"


# -- fetch ---------------------------------------------------------------------------------------


def test_fetch_gets_committed_things_only_and_goes_on_after_a_break(
    cli: Cli, running: FakeOperator, store_url: str, tmp_path: Path
) -> None:
    store, big = open_store(f"{store_url}/runs/run-a"), bytes(range(256)) * 200_000
    store.write("config.yaml", b"name: a\n")
    store.write("metrics.jsonl", b"")
    store.write("checkpoints/step_00000500/data.bin", big)
    store.write("checkpoints/step_00000500/COMMITTED", b"{}")
    store.write("checkpoints/step_00001000/data.bin", b"half written")
    store.write("samples/step_00000500.mp4", b"video")

    out = tmp_path / "got"
    assert cli("fetch", "run-a", "--out", str(out)).code == 0
    assert (out / "samples/step_00000500.mp4").read_bytes() == b"video"

    etag = "".join(c for c in store.stat("checkpoints/step_00000500/data.bin").etag if c.isalnum())
    part = out / f"checkpoints/step_00000500/data.bin.{etag[:16]}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(big[:1_000_001])
    result = cli("fetch", "run-a", "checkpoint", "--out", str(out))
    assert result.code == 0
    assert (out / "checkpoints/step_00000500/data.bin").read_bytes() == big
    assert not part.exists()
    assert not (out / "checkpoints/step_00001000").exists()
    missing = cli("fetch", "run-a", "report", "--out", str(out))
    assert missing.code == 1
    assert "has no report yet" in missing.err
