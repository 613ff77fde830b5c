"""Tunnels and dashboards: real sockets through the API server's websocket port-forward."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
import webbrowser
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cloud_setup import Cli
from fake_kubernetes import FakeKubernetes, status
from replay import HERE, play

import vidgen.cloud.tunnel
from vidgen.cloud.cluster import Cluster
from vidgen.cloud.ray_jobs import head_pod
from vidgen.cloud.session import Session
from vidgen.cloud.state import Snapshot
from vidgen.cloud.tunnel import Tunnel, ready_pod
from vidgen.errors import ClusterError
from vidgen.storage.open import open_store

HEAD = "run-a-x1-head-p1"


@pytest.fixture
def server() -> Iterator[int]:
    """The port of an HTTP server that echoes bodies; large answers included."""

    class Echo(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Silent."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made.server_address[1]
    made.shutdown()
    made.server_close()


@pytest.fixture
def connected(cluster: FakeKubernetes, cli: Cli) -> Cluster:
    """This process's client of the cluster."""
    return Cluster.connect()


def echo(url: str, body: bytes) -> bytes:
    with urllib.request.urlopen(urllib.request.Request(url, data=body), timeout=30) as answer:
        return bytes(answer.read())


def test_bytes_arrive_whole_many_at_once(
    cluster: FakeKubernetes, connected: Cluster, server: int
) -> None:
    cluster.ports["pod-1", 8265] = server
    body = bytes(range(256)) * 4000
    with Tunnel(connected, lambda: "pod-1", 8265) as tunnel:
        answers: list[bytes] = []
        threads = [
            threading.Thread(target=lambda: answers.append(echo(tunnel.url, body)))
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert answers == [body] * 4


def test_a_tunnel_outlives_its_pod(
    cluster: FakeKubernetes, connected: Cluster, server: int
) -> None:
    cluster.ports["pod-1", 8265] = server
    now = ["pod-1"]
    with Tunnel(connected, lambda: now[0], 8265) as tunnel:
        assert echo(tunnel.url, b"one") == b"one"
        del cluster.ports["pod-1", 8265]  # replaced while a request waits
        cluster.ports["pod-2", 8265] = server
        threading.Timer(1.0, now.__setitem__, [0, "pod-2"]).start()
        assert echo(tunnel.url, b"two") == b"two"


def test_a_forbidden_port_is_told_at_once(cluster: FakeKubernetes, connected: Cluster) -> None:
    answer = status(403, "Forbidden", 'cannot create resource "pods/portforward"')
    cluster.fault = lambda method, path: (403, answer) if "portforward" in path else None
    with Tunnel(connected, lambda: "pod-1", 8265) as tunnel:
        with pytest.raises(OSError, match=r"."):
            echo(tunnel.url, b"x")
        deadline = time.monotonic() + 5
        while tunnel.last_error is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert tunnel.last_error is not None
        assert "get and create on pods/portforward" in tunnel.last_error


def test_no_ready_pod_says_so(cluster: FakeKubernetes, connected: Cluster) -> None:
    with pytest.raises(ClusterError, match="no ready pod with labels app=s3"):
        ready_pod(connected, "app=s3")


def test_a_store_inside_the_cluster_is_reached_with_its_own_keys(
    cluster: FakeKubernetes,
    cli: Cli,
    s3_bucket: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The trial platform: no address and no keys on the laptop at all."""
    import os
    from base64 import b64encode

    endpoint = os.environ["AWS_ENDPOINT_URL"]
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    data = {name: b64encode(os.environ[name].encode()).decode() for name in keys}
    cluster.put("secrets", {"metadata": {"name": "vidgen-s3"}, "data": data})
    for name in ("AWS_ENDPOINT_URL", *keys):
        monkeypatch.delenv(name)
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    cluster.put("pods", {"metadata": {"name": "s3-0", "labels": {"app": "s3"}}, "status": ready})
    cluster.ports["s3-0", 9000] = int(endpoint.rsplit(":", 1)[1])
    platform = cluster.get("configmaps", "vidgen-platform")["data"]
    text = platform["platform.yaml"].replace("s3://clips/team", s3_bucket)
    platform["platform.yaml"] = text.replace(
        "secretName: vidgen-s3", "secretName: vidgen-s3\n  podSelector: {app: s3}"
    )
    session = Session(None, None)
    try:
        store = open_store(s3_bucket, session.storage)
        store.write("runs/a/config.yaml", b"name: a\n")
        assert store.read("runs/a/config.yaml") == b"name: a\n"
    finally:
        session.close()
        for name in keys:
            monkeypatch.delenv(name, raising=False)


def test_dashboard_prints_its_address_and_never_the_token(
    cli: Cli, cluster: FakeKubernetes, server: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    play(HERE / "running", cluster)
    cluster.put(
        "secrets",
        {"metadata": {"name": "run-a-x1"}, "data": {"auth_token": "c2VjcmV0LXRva2Vu"}},
    )
    cluster.ports[HEAD, 8265] = server
    opened: list[str] = []

    def look(url: str) -> bool:
        opened.append(url)
        assert echo(url, b"hello") == b"hello"
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", look)
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    result = cli("dashboard", "run-a")
    assert result.out.strip() == opened[0]
    assert "kubectl get secret -n team run-a-x1" in result.err
    assert "secret-token" not in result.out + result.err


def test_dashboard_of_a_run_without_head_says_so(cli: Cli, cluster: FakeKubernetes) -> None:
    play(HERE / "succeeded", cluster)
    result = cli("dashboard", "run-a", "--no-browser")
    assert result.code == 1
    assert "has no ready head" in result.err


def test_grafana_needs_an_address(cli: Cli, cluster: FakeKubernetes) -> None:
    assert "monitoring.grafanaUrl" in cli("dashboard", "run-a", "grafana").err
    platform = cluster.get("configmaps", "vidgen-platform")["data"]
    platform["platform.yaml"] += "monitoring: {grafanaUrl: https://grafana.example.com/}\n"
    result = cli("dashboard", "run-a", "grafana", "--no-browser")
    assert result.out == "https://grafana.example.com/d/vidgen-run?var-run=run-a\n"


def test_only_the_current_attempts_head_is_a_head(cluster: FakeKubernetes) -> None:
    play(HERE / "retrying", cluster)
    pods = [obj for (kind, *_), obj in cluster.objects.items() if kind == "pods"]
    with pytest.raises(ClusterError, match="no ready head"):
        head_pod(Snapshot(rayjob=cluster.get("rayjobs", "run-a"), pods=pods))


def test_curves_become_tensorboard_events(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="`dashboard NAME tensorboard` needs tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    from vidgen.cloud.tensorboard import EventCopier
    from vidgen.storage.run_folder import RunFolder

    run = RunFolder(str(tmp_path / "run"))
    run.store.write("metrics.jsonl", b'{"step": 1, "time": 5.0, "loss": 2.5}\n')
    copier = EventCopier(run, tmp_path / "events")
    assert copier.copy() == 1
    run.store.write(
        "metrics.jsonl",
        b'{"step": 1, "time": 5.0, "loss": 2.5}\n{"step": 2, "time": 6.0, "loss": 1.5}\n',
    )
    assert copier.copy() == 1
    copier.close()
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 2.5), (2, 1.5)]


def test_tensorboard_opens_on_a_free_port_with_the_runs_curves(
    cluster: FakeKubernetes, s3_bucket: str, tmp_path: Path
) -> None:
    """The whole command, as a process, until Ctrl-C."""
    pytest.importorskip("tensorboard", reason="`dashboard NAME tensorboard` needs tensorboard")
    url = f"{s3_bucket}/team/runs/run-a"
    open_store(url).write("metrics.jsonl", b'{"step": 1, "time": 5.0, "loss": 2.5}\n')
    play(HERE / "running", cluster)
    job = cluster.get("rayjobs", "run-a")
    job["metadata"].setdefault("annotations", {})["vidgen.dev/run-url"] = url
    config = cluster.write_kubeconfig(tmp_path / "kubeconfig")
    command = "from vidgen.cloud.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "dashboard", "run-a", "tensorboard", "--no-browser"],
        env={**os.environ, "KUBECONFIG": str(config)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:")
        tags = f"{address}/data/plugin/scalars/tags"
        deadline = time.monotonic() + 90
        found: dict[str, object] = {}
        while not found and time.monotonic() < deadline:  # it loads event files in its own time
            with urllib.request.urlopen(tags, timeout=10) as answer:
                found = json.load(answer)
            time.sleep(0.2)
        assert "loss" in str(found["run-a"])
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    assert process.returncode == 0, err


def test_tunnels_patience_is_long_enough_for_a_new_head() -> None:
    """A replaced head took 25 s from deletion to Ready in the recordings."""
    assert vidgen.cloud.tunnel._PATIENCE_S >= 30
