"""The RayJob's entrypoint, exactly as rendered, in a real Ray cluster with a job server and tokens:
it trains, ships its log, is stopped with a checkpoint, and goes on from there."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from cloud_setup import PLATFORM
from fake_operator import READY, TOKEN

from vidgen.cloud.archive import pack
from vidgen.cloud.plan import plan_train, plan_tune
from vidgen.cloud.platform import Platform, parse_platform
from vidgen.cloud.ray_jobs import RayJobs
from vidgen.cloud.rayjob import Job, job_of, render
from vidgen.cloud.shipper import read_shipped
from vidgen.cloud.state import Snapshot
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder
from vidgen.tune.folder import SweepFolder

pytest.importorskip("ray", reason="the engine's Ray: pip install 'vidgen[train]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

RUN = """
name: shapes
data: {synthetic: {clips: 16}, frames: 8}
model: {family: flow, conditions: [text], width: 48, depth: 1, heads: 4}
train: {steps: 4000, batch_size: 4, log_every: 1, validate_every: 0, sample_every: 0,
        checkpoint_every: 1000}
"""

SWEEP = """
name: rates
recipe: {recipe}
space: {{optimizer.lr: {{choice: [1e-3, 1e-4]}}}}
set: {{train.steps: 6, train.validate_every: 3, train.validate_clips: 4}}
search: {{kind: grid}}
"""


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@dataclass
class Direct:
    """The part of a Cluster that RayJobs uses, with this machine as the head pod."""

    dashboard: int

    def open_port(self, pod: str, port: int) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.dashboard), timeout=10)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        return {"data": {"auth_token": "ZXhhbXBsZS1yYXktYXV0aC10b2tlbg=="}}


class Pods:
    """Head and workers of a manifest as raylets of this machine, with the containers' own
    environment and start parameters; Secrets are looked up in `secrets`."""

    def __init__(self, manifest: dict[str, Any], secrets: dict[str, str]) -> None:
        self.spec, self._secrets = manifest["spec"]["rayClusterSpec"], secrets
        self.folder = Path(tempfile.mkdtemp(prefix="vg", dir="/tmp"))  # socket paths are short
        self.gcs, self.dashboard, *self._agents = free_ports(9)
        self.processes: list[subprocess.Popen[bytes]] = []

    def environment(self, group: dict[str, Any]) -> dict[str, str]:
        found = {}
        for item in group["template"]["spec"]["containers"][0]["env"]:
            reference = item.get("valueFrom", {}).get("secretKeyRef")
            value = self._secrets[reference["key"]] if reference else item["value"]
            found[item["name"]] = value.replace("$$", "$")
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        base = {
            k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "RAY_", "VIDGEN_"))
        }
        scripts = str(Path(sys.executable).parent)
        return {
            **base,
            **found,
            "HOME": str(home),
            "PATH": f"{scripts}:{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": TOKEN,
            "OMP_NUM_THREADS": "1",
        }

    def start(self) -> None:
        head, worker = self.spec["headGroupSpec"], self.spec["workerGroupSpecs"][0]
        client, *agents = self._agents
        # Each node has a /tmp of its own, as pods do.
        self._ray(
            head, "--head", f"--port={self.gcs}", f"--dashboard-port={self.dashboard}",
            f"--temp-dir={self.folder / 'h'}", f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agents.pop()}",
            f"--metrics-export-port={agents.pop()}",
        )  # fmt: skip
        wait_for(self._up, "the dashboard", 240)
        for number in range(worker["replicas"]):
            self._ray(
                worker, f"--address=127.0.0.1:{self.gcs}",
                f"--temp-dir={self.folder / f'w{number}'}",
                f"--dashboard-agent-listen-port={agents.pop()}",
                f"--metrics-export-port={agents.pop()}",
            )  # fmt: skip

    def _up(self) -> bool:
        if self.processes[0].poll() is not None:
            pytest.fail((self.folder / "raylet0.log").read_text()[-2000:])
        return answers(self.dashboard)

    def _ray(self, group: dict[str, Any], *arguments: str) -> None:
        given = {"object-store-memory": "80000000", **group["rayStartParams"]}
        given["dashboard-host"] = "127.0.0.1"
        if "--head" not in arguments:
            del given["dashboard-host"]
        flags = [f"--{key}={value}" for key, value in given.items()]
        log = (self.folder / f"raylet{len(self.processes)}.log").open("wb")
        # In a process group of its own, so that all of it can be ended.
        self.processes.append(
            subprocess.Popen(
                ["ray", "start", "--block", "--node-ip-address=127.0.0.1", *arguments, *flags],
                env=self.environment(group), stdout=log, stderr=log, start_new_session=True,
                cwd=self.folder,
            )
        )  # fmt: skip

    def submit(self, manifest: dict[str, Any], job_id: str) -> None:
        """As KubeRay's HTTPMode does."""
        spec = manifest["spec"]
        env_file = self.folder / "runtime-env.yaml"
        env_file.write_text(spec.get("runtimeEnvYAML", "{}"))
        command = ["ray", "job", "submit", "--no-wait", "--submission-id", job_id]
        command += ["--address", f"http://127.0.0.1:{self.dashboard}"]
        command += ["--runtime-env", str(env_file), "--", "sh", "-c", spec["entrypoint"]]
        env = self.environment(self.spec["headGroupSpec"])
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr

    def close(self) -> None:
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        shutil.rmtree(self.folder, ignore_errors=True)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(done: Callable[[], Any], what: str, seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = done()
        if found:
            return found
        time.sleep(0.5)
    pytest.fail(f"waited {seconds:g} s for {what}")


@pytest.fixture
def platform_on_s3(s3_bucket: str) -> Platform:
    text = PLATFORM.replace("s3://clips/team", f"{s3_bucket}/team")
    text = text.replace("http://s3.example.com:9000", os.environ["AWS_ENDPOINT_URL"])
    return parse_platform(text, "test platform")


@pytest.fixture
def job(platform_on_s3: Platform, tmp_path: Path) -> Job:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mine.py").write_text("x = 1\n")
    archive = pack(tmp_path / "code")
    assert archive.upload(open_store(platform_on_s3.object_store.url))
    (tmp_path / "run.yaml").write_text(RUN)
    made = plan_train(
        str(tmp_path / "run.yaml"), [], platform_on_s3, pool="cpu", workers=2, name="run-a",
        now=datetime.now(timezone.utc),
    )  # fmt: skip
    url = f"{platform_on_s3.object_store.url}/{archive.key}"
    return job_of(render(made, platform_on_s3, "team")).__class__(**{**vars(made), "code_url": url})


@contextmanager
def started(job: Job, platform: Platform) -> Iterator[Pods]:
    secrets = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    made = Pods(render(job, platform, "team"), secrets)
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def pods(job: Job, platform_on_s3: Platform) -> Iterator[Pods]:
    with started(job, platform_on_s3) as made:
        yield made


def dashboard(pods: Pods, manifest: dict[str, Any], job_id: str) -> RayJobs:
    labels = {"ray.io/cluster": "c", "ray.io/node-type": "head"}
    head = {
        "metadata": {"name": "head", "labels": labels},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    status = {"jobId": job_id, "rayClusterName": "c", "rayClusterStatus": {"conditions": READY}}
    snapshot = Snapshot(rayjob={**manifest, "status": status}, pods=[head])
    return RayJobs(Direct(pods.dashboard), snapshot)  # type: ignore[arg-type]


def ended(ray: RayJobs) -> str:
    status = ray._call("GET", f"/api/jobs/{ray.job_id}")["status"]
    if status == "FAILED":
        pytest.fail(ray.output()[-3000:])
    return status if status in ("STOPPED", "SUCCEEDED") else ""


def test_a_sweep_shares_the_workers_among_its_trials(
    platform_on_s3: Platform, tmp_path: Path
) -> None:
    (tmp_path / "run.yaml").write_text(RUN)
    (tmp_path / "sweep.yaml").write_text(SWEEP.format(recipe=tmp_path / "run.yaml"))
    job = plan_tune(
        str(tmp_path / "sweep.yaml"), [], platform_on_s3, pool="cpu", workers=2, name="rates-1",
        now=datetime.now(timezone.utc),
    )  # fmt: skip
    manifest = render(job, platform_on_s3, "team")
    with started(job, platform_on_s3) as pods:
        pods.submit(manifest, "rates-1-1")
        ray = dashboard(pods, manifest, "rates-1-1")
        assert wait_for(lambda: ended(ray), "the sweep", 500) == "SUCCEEDED"
        sweep = SweepFolder(job.run_url)
        assert [(trial.state, trial.step) for trial in sweep.trials()] == [("done", 6)] * 2
        assert {"best.yaml", "sweep.html"} <= {stat.key for stat in sweep.store.list()}


def test_train_ship_stop_resume(pods: Pods, job: Job, platform_on_s3: Platform) -> None:
    manifest = render(job, platform_on_s3, "team")
    run = RunFolder(job.run_url)

    def shipped() -> str:
        return b"".join(data for _, data in read_shipped(run.store)).decode()

    # It trains, and its output is in the store while it does.
    pods.submit(manifest, "run-a-1")
    first = dashboard(pods, manifest, "run-a-1")
    wait_for(lambda: ended(first) or sum(1 for _ in run.metrics()) >= 5, "five steps", 400)
    wait_for(lambda: job.run_url in shipped(), "the log in the store", 30)
    assert list(pods.folder.rglob("working_dir_files/**/mine.py"))  # Ray unpacked the code
    # Each rank's output can be told apart, as `logs --rank` does.
    wait_for(lambda: "world_rank=1" in shipped(), "the table of ranks", 30)

    # It is cancelled: the program saves where it is.
    first.stop()
    assert wait_for(lambda: ended(first), "the stop", 120) == "STOPPED"
    assert len(run.checkpoint_steps()) == 1, shipped()[-3000:]
    (saved,) = run.checkpoint_steps()
    assert 5 <= saved < 4000
    assert saved % 1000 != 0  # not one that was due anyway

    # It is resumed: the same folder, from that step to the end that a shorter run asks for.
    again = job.resumed(2)
    pods.submit(render(again, platform_on_s3, "team"), "run-a-r2-1")
    second = dashboard(pods, manifest, "run-a-r2-1")
    wait_for(
        lambda: ended(second) or max(row["step"] for row in run.metrics()) >= saved + 5,
        "steps after the resume", 400,
    )  # fmt: skip
    steps = [row["step"] for row in run.metrics() if "loss" in row]
    assert steps == sorted(set(steps))  # nothing was trained twice
    second.stop()
    assert wait_for(lambda: ended(second), "the second stop", 120) == "STOPPED"
    assert run.checkpoint_steps()[-1] > saved
    assert len({key.key.split("/")[1] for key in run.store.list("logs/")}) == 2  # two starts
    assert "vidgen-test-secret" not in shipped() + json.dumps(manifest)
