"""`make observe-check`: a real Prometheus beside a real run of two workers on Ray.

Every query of every dashboard has to return series; a killed worker has to come back without gaps
that stay, and without a series twice.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml
from observe.nodes import Node, wait_until
from observe.prometheus import Prometheus
from observe.test_alerts import RULES, metrics_in
from observe.test_dashboards import FILES, queries

from vidgen.observe.metric_table import METRICS
from vidgen.storage.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

HAS_GPU = shutil.which("nvidia-smi") is not None
# What Grafana puts in for its variables when everything is chosen.
CHOSEN = {
    "$namespace": "test", "$run": ".*", "$rank": ".*", "$sweep": ".*", "$gpu_price": "2.0",
    "$__rate_interval": "30s",
}  # fmt: skip
RUN_NAME = "watched"
VIDGEN = "from vidgen.cli import main; main()"
# A sweep whose trials are runs of their own, beside the one that is watched.
SWEEP = """
name: asha
recipe: shapes-demo
set:
  data: {synthetic: {clips: 120}, height: 16, width: 16}
  model: {width: 32, depth: 1}
  train: {steps: 100000, log_every: 2, validate_every: 20, validate_clips: 4, sample_every: 0}
space:
  optimizer.lr: {loguniform: [1e-4, 1e-2]}
scheduler: {kind: asha, grace_steps: 20}
budget: {trials: 4}
trial: {workers: 0, cpus_per_worker: 0.5}
concurrent: 1
"""

# Reward fine-tuning of the watched run's model, a few steps.
REWARD = """
name: rewarded
data: {synthetic: {clips: 120}, frames: 16, height: 16, width: 16}
reward: {start: START, rewards: {sharpness: 1}, guards: {contrast: 0}, group: 4, learner: nft}
train: {steps: 2, batch_size: 4, validate_every: 1, validate_clips: 2, log_every: 1}
"""


@dataclass
class Live:
    """The run, what scrapes it, and its folder."""

    prometheus: Prometheus
    node: Node
    train: subprocess.Popen[bytes]
    folder: RunFolder
    log: Path

    def workers(self) -> list[psutil.Process]:
        """Processes of the ranks."""
        found = []
        for process in psutil.Process(self.train.pid).children(recursive=True):
            try:
                if " ".join(process.cmdline()).startswith("ray::RayTrainWorker"):
                    found.append(process)
            except psutil.Error:
                continue
        return found


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    base = tmp_path_factory.mktemp("live")
    node = Node(linger_s=60)
    prometheus = Prometheus(base, node.port, RULES)
    folder = RunFolder(str(base / RUN_NAME))
    settings = [
        "data.synthetic.clips=120", "data.height=16", "data.width=16", "model.width=32",
        "model.depth=1", "train.steps=100000", "train.log_every=2", "train.validate_every=20",
        "train.validate_clips=4", "train.sample_every=40", "train.samples=2",
        "train.checkpoint_every=30", "scale.cpus_per_worker=0.5", "evaluate.clips=4",
        "evaluate.training_clips=4", f"run={folder.url}",
    ]  # fmt: skip
    log = base / "train.log"
    train = subprocess.Popen(
        [
            sys.executable, "-c", VIDGEN, "train", "shapes-demo", "--workers", "2",
            *(word for setting in settings for word in ("--set", setting)),
        ],
        env={**node.env, "OMP_NUM_THREADS": "1"}, stdout=log.open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    (base / "asha.yaml").write_text(SWEEP)
    sweep = subprocess.Popen(
        [
            sys.executable, "-c", VIDGEN, "tune", str(base / "asha.yaml"),
            "--set", f"run={base / 'asha'}",
        ],
        env={**node.env, "OMP_NUM_THREADS": "1"},
        stdout=(base / "tune.log").open("wb"), stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield Live(prometheus, node, train, folder, log)
    finally:
        for process in (sweep, train):
            process.send_signal(signal.SIGINT)
        for process in (sweep, train):
            try:
                process.wait(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
        prometheus.close()
        node.close()


def expressions() -> list[tuple[str, str]]:
    """(dashboard, query) with the variables filled in."""
    found = []
    for file in FILES:
        for query in queries(json.loads(file.read_text())):
            for name in sorted(CHOSEN, key=len, reverse=True):
                query = query.replace(name, CHOSEN[name])
            found.append((file.stem, query))
    return found


def needs_gpu(query: str) -> bool:
    return any(METRICS[name].needs == "gpu" for name in metrics_in(query))


def test_every_query_of_every_dashboard_returns_series(live: Live) -> None:
    def trained() -> bool:
        assert live.train.poll() is None, live.log.read_text()[-3000:]
        done = live.prometheus.number(f'vidgen_step{{run="{RUN_NAME}"}}')
        trial = 'vidgen_validation_loss{run=~"asha/.*"}'
        others = ("vidgen_checkpoint_bytes", "vidgen_sweep_best_score", trial)
        return bool(done and done > 60) and all(live.prometheus.query(name) for name in others)

    wait_until(trained, 400)
    rewarded = yaml.safe_load(REWARD.replace("START", live.folder.url))
    rewarded["model"] = live.folder.config().model.model_dump(mode="json")
    file = live.log.parent / "rewarded.yaml"
    file.write_text(yaml.safe_dump(rewarded))
    subprocess.run(
        [sys.executable, "-c", VIDGEN, "train", str(file), "--set", f"run={live.folder.url}-2"],
        env={**live.node.env, "OMP_NUM_THREADS": "1"}, check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    subprocess.run(
        [sys.executable, "-c", VIDGEN, "evaluate", live.folder.url],
        env=live.node.env, check=True, capture_output=True, timeout=200,
    )  # fmt: skip
    time.sleep(5)
    empty, unchecked = [], []
    for board, query in expressions():
        if needs_gpu(query) and not HAS_GPU:
            unchecked.append((board, query))
            continue
        values = [float(each["value"][1]) for each in live.prometheus.query(query)]
        if not values or not all(map(math.isfinite, values)):
            empty.append((board, query, values))
    assert not empty, "\n".join(map(str, empty))
    print(f"{len(expressions()) - len(unchecked)} queries returned series")
    for board, query in unchecked:
        print(f"not checked, this machine has no GPU: {board}: {query}")
    # Those are few, and syntactically right: Prometheus answered them above or does so now.
    for _, query in unchecked:
        live.prometheus.query(query)


def test_rules_evaluate_on_what_a_run_exports(live: Live) -> None:
    def evaluated() -> bool:
        groups = live.prometheus.get("/api/v1/rules")["groups"]
        return all(rule["health"] != "unknown" for group in groups for rule in group["rules"])

    wait_until(evaluated, 60)
    for group in live.prometheus.get("/api/v1/rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule


def test_a_killed_worker_comes_back_without_a_series_twice(live: Live) -> None:
    prometheus = live.prometheus
    mine = f'{{run="{RUN_NAME}"}}'
    ranks = f"count(vidgen_last_step_timestamp_seconds{mine})"
    assert prometheus.number(ranks) == 2
    before = prometheus.number(f"vidgen_run_started_timestamp_seconds{mine}")
    victim = live.workers()[-1]
    os.kill(victim.pid, signal.SIGKILL)
    killed = time.time()

    def back() -> bool:
        assert live.train.poll() is None, live.log.read_text()[-3000:]
        again = prometheus.number(f"vidgen_run_started_timestamp_seconds{mine}")
        fresh = prometheus.number(f"min(vidgen_last_step_timestamp_seconds{mine})")
        steps = prometheus.number(f"min(vidgen_data_clips_total{mine})")
        return bool(
            again != before and fresh and fresh > killed and steps and prometheus.number(ranks) == 2
        )

    wait_until(back, 300)
    live.node.series()  # fails when a sample or a metric is there twice
    assert (prometheus.number(f"vidgen_restarts_total{mine}") or 0) >= 1
    # At no moment since the run began was a rank there twice, or did a scrape repeat a series.
    for metric in ("vidgen_last_step_timestamp_seconds", "vidgen_step_seconds_count"):
        most = prometheus.number(f"max(max_over_time((count by (run, rank) ({metric}))[10m:1s]))")
        assert most == 1
    assert prometheus.number("max(max_over_time((count by (run) (vidgen_step))[10m:1s]))") == 1
    # The worker's death did not take the port away for a moment.
    assert prometheus.number(f"min_over_time(up[{int(time.time() - killed) + 5}s])") == 1
    text = (Path(live.log.parent) / "prometheus.log").read_text()
    assert "duplicate" not in text.lower()
