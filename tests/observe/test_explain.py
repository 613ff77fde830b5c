"""What limits a run, from lines as the loop writes them; and runs as `vidgen top` shows them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from observe.nodes import Node
from rich.console import Console

from vidgen.cli import cli
from vidgen.config.load import dump, load_run
from vidgen.config.run import RunConfig
from vidgen.errors import ConfigError, StorageError, TrainingError
from vidgen.observe.explain import Explanation, explain
from vidgen.observe.run_metrics import About, RunMetrics
from vidgen.observe.run_view import RunView, open_views
from vidgen.observe.top import as_table, watch
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import CONFIG, METRICS, RunFolder, run_label

SECONDS = {
    "step_s": 1.0, "data_wait_s": 0.02, "forward_backward_s": 0.9, "optimizer_s": 0.05,
    "load_s": 0.3, "read_s": 0.05, "ready_batches": 4.0, "mfu": 0.45, "clips_per_s": 8.0,
}  # fmt: skip


def lines(count: int = 30, every: int = 10, **keys: float) -> list[dict[str, Any]]:
    return [{"step": (n + 1) * every, "time": 1e9, **SECONDS, **keys} for n in range(count)]


def of(*settings: str, **keys: float) -> Explanation:
    found = explain(load_run("shapes-flow", settings), lines(**keys))
    assert found is not None
    assert sum(found.shares.values()) == pytest.approx(1)
    return found


def test_a_healthy_run_is_limited_by_arithmetic() -> None:
    found = of()
    assert found.limit.what == "arithmetic"
    assert "95% of the time" in found.limit.text
    assert "45% of what the device does" in found.limit.text
    assert found.others == []


def test_groups_that_teach_nothing() -> None:
    reward = "reward={start: unused, rewards: {caption: 1}, group: 6}"
    found = of(reward, alike=0.75)
    assert found.limit.what == "arithmetic"
    (other,) = found.others
    assert other.what == "rewards"
    assert "75% of the groups teach nothing: all of a condition's 6 videos" in other.text
    assert "raise reward.group (now 6)" in other.tries[0]
    assert of(reward, alike=0.25).others == []


def test_decoding() -> None:
    found = of(data_wait_s=0.5, forward_backward_s=0.45, ready_batches=0.1, load_s=0.9, read_s=0.1)
    assert found.limit.what == "decode"
    assert "waits 0.5 s" in found.limit.text
    assert "0.1 of 4 batches" in found.limit.text
    assert "only 11% of that is reading" in found.limit.text
    assert "data.loader_workers (now 0)" in found.limit.tries[0]
    assert found.shares["data"] == pytest.approx(0.5)


def test_the_store_counting_all_decoder_processes() -> None:
    slow = {"data_wait_s": 0.5, "forward_backward_s": 0.45, "load_s": 0.9}
    assert of(read_s=0.8, **slow).limit.what == "store"
    # Four processes that read 0.8 s together have read 0.2 s each, of 0.9.
    assert of("data.loader_workers=4", read_s=0.8, **slow).limit.what == "decode"
    found = of("data.loader_workers=4", read_s=3.4, **slow)
    assert found.limit.what == "store"
    assert "94% of the time to make a batch is reading" in found.limit.text
    assert "data.disk_cache" in found.limit.tries[0]


def test_a_straggler_is_named_if_it_is_always_the_same() -> None:
    found = of(lag_s=0.4, lag_rank=3)
    assert found.limit.what == "straggler"
    assert "rank 3 in 100%" in found.limit.text
    assert found.shares["compute"] == pytest.approx(0.55)
    mixed = lines(lag_s=0.4)
    for n, line in enumerate(mixed):
        line["lag_rank"] = n % 8
    answer = explain(load_run("shapes-flow"), mixed)
    assert answer is not None
    assert "a different rank each time" in answer.limit.text


def test_checkpoints_validation_and_samples_stop_training() -> None:
    found = of(checkpoint_s=5.0, validate_s=1.0, sample_s=2.0)  # a line each ten steps of 1 s
    assert found.limit.what == "checkpoint"
    assert found.shares["checkpoint"] == pytest.approx(5 / 18)
    assert [each.what for each in found.others] == ["samples", "validation"]
    assert "train.checkpoint_every (now " in found.limit.tries[0]


def test_remarks_that_cost_no_share() -> None:
    found = of(save_s=75.0, starts=5, preemptions=2)
    assert found.limit.what == "arithmetic"
    assert [each.what for each in found.others] == ["checkpoint", "restarts"]
    assert "75 s" in found.others[0].text
    assert "started 5 times, 2 of them" in found.others[1].text


def test_a_low_mfu_is_said() -> None:
    found = of("train.compile=false", mfu=0.1)
    assert "only 10%" in found.limit.text
    assert any("train.compile" in each for each in found.limit.tries)


def test_too_few_lines_say_nothing_and_the_first_ones_do_not_count() -> None:
    config = load_run("shapes-flow")
    assert explain(config, lines(2)) is None
    assert explain(config, [{"step": 1, "val_loss": 1.0}] * 50) is None
    slow_start = lines(101)
    slow_start[0] |= {"step_s": 1000.0, "data_wait_s": 990.0}
    found = explain(config, slow_start)
    assert found is not None
    assert found.limit.what == "arithmetic"


def make_run(folder: Path, *, steps: int = 1000, age_s: float = 1.0, **keys: float) -> RunFolder:
    config: RunConfig = load_run("shapes-flow", [f"train.steps={steps}"])
    run = RunFolder(str(folder))
    run.store.write(CONFIG, dump(config).encode())
    now = time.time() - age_s
    text = "".join(
        json.dumps({**line, "loss": 0.5, "time": now}) + "\n" for line in lines(5, **keys)
    )
    run.store.write(METRICS, text.encode())
    return run


def test_views_of_one_folder_and_of_all_below(tmp_path: Path) -> None:
    make_run(tmp_path / "runs" / "old", age_s=7200)
    new = make_run(tmp_path / "runs" / "new", data_wait_s=0.5, starts=2)
    make_run(tmp_path / "runs" / "sweep" / "trials" / "t1", steps=50)
    (view,) = open_views(new.url, RunFolder, open_store)
    assert (view.name, view.state, view.step, view.steps) == ("new", "running", 50, 1000)
    assert view.wait_share == 0.5
    assert view.left_s == pytest.approx(950)
    assert view.starts == 2
    views = open_views(str(tmp_path / "runs"), RunFolder, open_store)
    assert {view.name: view.state for view in views} == {
        "new": "running", "old": "silent", "sweep/t1": "done",
    }  # fmt: skip
    with pytest.raises(ConfigError, match="no run in"):
        open_views(str(tmp_path / "nothing"), RunFolder, open_store)


def test_the_commands(tmp_path: Path) -> None:
    run = make_run(tmp_path / "night-1", data_wait_s=0.5, forward_backward_s=0.45)
    said = CliRunner().invoke(cli, ["explain", run.url])
    assert said.exit_code == 0
    first, second, *_, last = said.output.splitlines()
    assert first.startswith("decode: Decoding limits this run")
    assert second.startswith("  try: raise data.loader_workers")
    assert last.startswith("of 1 s a step over 40 steps: data 50%")
    answer = json.loads(CliRunner().invoke(cli, ["explain", run.url, "--json"]).output)
    assert answer["limit"]["what"] == "decode"
    assert answer["shares"]["data"] == pytest.approx(0.5)
    (row,) = json.loads(CliRunner().invoke(cli, ["top", str(tmp_path), "--json"]).output)
    assert (row["name"], row["step"], row["wait_share"]) == ("night-1", 50, 0.5)
    assert "night-1" in CliRunner().invoke(cli, ["top", run.url]).output
    run.store.delete(METRICS)
    silent = CliRunner().invoke(cli, ["explain", run.url])
    assert isinstance(silent.exception, TrainingError)
    assert "too few lines" in str(silent.exception)


def test_views_in_a_bucket(tmp_path: Path, s3_bucket: str) -> None:
    local = make_run(tmp_path / "run")
    remote = RunFolder(f"{s3_bucket}/runs/a")
    for name in (CONFIG, METRICS):
        remote.store.write(name, local.store.read(name))
    (view,) = open_views(f"{s3_bucket}/runs", RunFolder, open_store)
    assert (view.name, view.step) == ("a", 50)


@pytest.fixture
def node(monkeypatch: pytest.MonkeyPatch) -> Iterator[Node]:
    made = Node()
    for name in ("VIDGEN_METRICS_PORT", "VIDGEN_METRICS_LINGER_S"):
        monkeypatch.setenv(name, made.env[name])
    yield made
    made.close()


def test_views_of_an_exporter_are_those_of_its_folder(node: Node, tmp_path: Path) -> None:
    """Two ranks export what the lines of a folder say; both ways of looking agree."""
    folder = make_run(tmp_path / "both", starts=2)
    (written,) = list(folder.metrics())[-1:]
    step = [40]
    ranks = [
        RunMetrics(
            About(
                run=run_label(folder.url),
                rank=rank,
                info={"family": "flow", "folder": folder.url, "workers": "2"},
                steps=1000,
                step=lambda: step[0],
                clips_per_step=8,
                my_clips=4,
                clips={"train": 80},
                sources={"kept": 9, "rejected": 1},
            )
        )
        for rank in range(2)
    ]
    try:
        step[0] = 50
        values = {name: float(v) for name, v in written.items() if name not in ("step", "time")}
        for rank in ranks:
            rank.line(50, {**values, "val_loss": 0.25, "val_loss_x": 1.0, "critic_loss_r1": 2.0})
            rank.laps({"step": [1.0] * 10, "data_wait": [0.02] * 10, "checkpoint": [3.0]})

        def views() -> list[RunView]:
            return open_views(f"http://127.0.0.1:{node.port}", RunFolder, open_store)

        node.until({"0": 40, "1": 40})  # ten steps of four clips each
        (live,) = views()
        (stored,) = open_views(folder.url, RunFolder, open_store)
        assert live.val_loss == 0.25
        for name in ("name", "state", "step", "steps", "loss", "clips_per_s", "step_s", "mfu",
                     "wait_share", "starts"):  # fmt: skip
            assert getattr(live, name) == pytest.approx(getattr(stored, name)), name
        series = node.series()
        run, lead = ("run", "both"), ("rank", "0")
        assert series["vidgen_epoch", (run,)] == 5
        assert series["vidgen_restarts_total", (run,)] == 1
        critic = (("part", "r1"), run, ("turn", "critic"))
        assert series["vidgen_loss", critic] == 2.0
        assert series["vidgen_validation_loss", (("part", "x"), run)] == 1.0
        checkpoint = (("phase", "checkpoint"), lead, run)
        assert series["vidgen_phase_seconds_sum", checkpoint] == 3.0
    finally:
        for rank in ranks:
            rank.close("not_finite")
    (ended,) = views()  # shown for a moment longer
    assert ended.state == "not_finite"


def test_no_exporter_is_one_line() -> None:
    with pytest.raises(StorageError, match="no exporter answers at"):
        open_views("http://127.0.0.1:9", RunFolder, open_store)


def test_the_table() -> None:
    view = RunView(
        name="a", state="running", step=50, steps=1000, loss=0.5, step_s=2.0, wait_share=0.4,
        clips_per_s=8.0, idle_s=3.0, starts=1,
    )  # fmt: skip
    text = StringIO()
    watch(lambda: [view], every_s=1, console=Console(file=text, width=160))
    shown = text.getvalue()
    for part in ("50/1000", "31m 40s", "0.5000", "40%", "3s ago"):
        assert part in shown
    assert as_table([], 80).row_count == 0
    narrow = StringIO()
    Console(file=narrow, width=80).print(as_table([view], 80))
    assert all(part in narrow.getvalue() for part in ("a ", "running", "31m 40s", "3s ago"))
    assert "GPU" not in text.getvalue()  # nobody has one


def test_labels_of_runs() -> None:
    assert run_label("s3://bucket/runs/night-1") == "night-1"
    assert run_label("/x/sweeps/asha/trials/t3/") == "asha/t3"
