"""The sweep's page, looked at in a browser, and what is computed for it."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import Any

import pytest
from browser import browser
from tune.conftest import MakeSweep

from vidgen.config.load_sweep import Sweep
from vidgen.observe.board import Board
from vidgen.observe.metric_table import TRIAL_STATES
from vidgen.tune.book import Book
from vidgen.tune.folder import SweepFolder, Trial
from vidgen.tune.importance import common_step, importance
from vidgen.tune.page import build_page, write_page
from vidgen.tune.table import as_table, standing

TRAP = "<img src=https://evil.example/x onerror=alert(1)>"


def made_up(sweep: Sweep) -> tuple[SweepFolder, Book]:
    """What a sweep of the learning rate leaves: those far from 1e-2 are worse, and are stopped."""
    folder = SweepFolder(sweep.url)
    trials = {}
    for number, values in enumerate(sweep.points or ()):
        loss = 0.1 + 20 * abs(values["optimizer.lr"] - 0.01)
        stopped = number % 3 == 2
        last = 4 if stopped else sweep.steps
        steps = range(2, last + 1, 2)
        lines = [{"step": s, "val_loss": loss + 1 / s, "step_s": 0.5} for s in steps]
        name = f"t{number:03d}"
        text = "".join(json.dumps(line) + "\n" for line in lines)
        folder.store.write(f"trials/{name}/metrics.jsonl", text.encode())
        trials[name] = Trial(
            name=name, values=values, state="stopped" if stopped else "done", step=last,
            score=loss + 1 / last, gpu_s=last * 0.7, step_gpu_s=0.5,
        )  # fmt: skip
    trials["t001"].state, trials["t001"].score = "failed", None
    trials["t001"].reason = f"out of memory {TRAP}"
    for trial in trials.values():
        folder.write_trial(trial)
    book = Book(sweep, folder, trials, lambda trial, what: None)
    book.measured("t000", {"validation_loss": 0.2, "fvd": 31.5}, ["validation_loss", "fvd"])
    return folder, book


@pytest.fixture
def finished(make_sweep: MakeSweep) -> tuple[Sweep, SweepFolder, Book]:
    sweep = make_sweep(
        description=f"rates {TRAP}",
        space={
            "optimizer.lr": {"loguniform": [1e-3, 1e-1]},
            "model": {"choice": {"narrow": {"slow_s": 0}, "wide": {"slow_s": 0.1}}},
            "optimizer.betas": {"choice": [[0.9, 0.99], [0.9, 0.999]]},
        },
        budget={"trials": 12},
        scheduler={"kind": "asha", "grace_steps": 4},
    )
    return sweep, *made_up(sweep)


def test_the_page_is_whole_and_lights_up_what_is_pointed_at(
    finished: tuple[Sweep, SweepFolder, Book], tmp_path: Path
) -> None:
    sweep, folder, book = finished
    page = Path(write_page(sweep, folder, book))
    (tmp_path / "profile").mkdir()
    with browser(tmp_path / "profile") as window:
        window.resize(1200, 900)
        window.open(page)
        window.requests()
        assert window.complaints() == []
        lines = "return document.querySelectorAll('.parallel path.trial').length"
        assert window.run(lines) == 11  # the failed one has no score
        curves = "return document.querySelectorAll('#curves path.trial:not(.dot)').length"
        assert window.run(curves) == 11
        assert window.run("return document.querySelectorAll('#trials tbody tr').length") == 12
        for width, scheme in ((1200, "light"), (390, "dark")):
            window.resize(width, 800)
            window.prefer(prefers_color_scheme=scheme)
            assert window.run("return document.documentElement.scrollWidth") == width
            window.screenshot(tmp_path / f"{scheme}.png")
        colors = [
            (window.prefer(prefers_color_scheme=scheme),
             window.run("return getComputedStyle(document.body).backgroundColor"))[1]
            for scheme in ("light", "dark")
        ]  # fmt: skip
        assert colors[0] != colors[1]
        window.resize(1200, 900)
        # Every axis has its name and readable ticks; none overlaps another.
        axes = window.run(
            "const top = (span) => span.getBoundingClientRect().top;"
            "return [...document.querySelectorAll('.axis')].map((axis) => ["
            "  axis.querySelector('b').textContent,"
            "  [...axis.querySelectorAll('span')].map(top).sort((one, two) => one - two)])"
        )
        assert [name for name, _ in axes] == [*sweep.config.space, "val_loss"]
        for name, tops in axes:
            assert len(tops) >= 2, name
            assert all(b - a > 10 for a, b in itertools.pairwise(tops)), name
        # A point of the best trial's curve: that trial stands out, and is told.
        x, y, best = window.run(
            "const p = document.querySelector('#curves path.best'), s = p.ownerSVGElement;"
            "s.scrollIntoView({block: 'center'});"
            "const q = p.getPointAtLength(p.getTotalLength() * 0.6), b = s.getBoundingClientRect();"
            "return [b.left + q.x / 100 * b.width, b.top + q.y / 100 * b.height, p.dataset.trial]"
        )
        window.point_at(int(x), int(y))
        followed = (
            "const found = [...document.querySelectorAll('.followed')];"
            "return [...new Set(found.map((each) => each.dataset.trial))]"
        )
        assert window.run(followed) == [best]
        assert best in window.run("return document.querySelector('.follow').textContent")
        assert window.run("return document.querySelector('.follow').hidden") is False
        assert window.requests() == []
    assert "<img" not in page.read_text()


def test_the_page_says_what_mattered_and_which_is_best(
    finished: tuple[Sweep, SweepFolder, Book],
) -> None:
    sweep, folder, book = finished
    page = build_page(sweep, folder, book)
    assert page.importance[0].name == "optimizer.lr"
    assert [f"{bar.share:.0f}%" for bar in page.importance] == [b.text for b in page.importance]
    assert "at step 12 " in page.importance_note
    assert page.best == "t000"  # the only one measured again
    assert "optimizer" in page.config
    assert [row.state for row in page.rows].count("failed") == 1
    assert page.final is not None
    assert page.final.rows == [["validation_loss", "0.2"], ["fvd", "31.5"]]


def test_a_key_that_does_nothing_has_no_importance() -> None:
    rng = random.Random(0)
    values: list[dict[str, Any]] = [
        {"lr": rng.uniform(0, 1), "kind": rng.choice("ab"), "idle": rng.uniform(0, 1)}
        for _ in range(60)
    ]
    scores = [each["lr"] + 0.4 * (each["kind"] == "a") for each in values]
    found = importance(["lr", "kind", "idle"], values, scores)
    assert found["idle"] < 0.08
    assert found["lr"] > found["kind"] > 0.1
    assert found["lr"] + found["kind"] + found["idle"] < 1.1
    scores[7] = 1e9  # one diverged trial changes little
    assert importance(["lr"], values, scores)["lr"] == pytest.approx(found["lr"], abs=0.15)


def test_trials_compare_at_a_step_that_many_reached() -> None:
    short, long = [(2, 1.0)], [(2, 1.0), (4, 0.5)]
    assert common_step({"a": long, "b": long, "c": short}) is None  # too few for anything
    many = {f"t{n}": long if n < 6 else short for n in range(10)}
    assert common_step(many) == 4
    assert common_step({**many, **{f"u{n}": short for n in range(6)}}) == 2


def test_the_table_and_the_exporter_tell_the_same(
    finished: tuple[Sweep, SweepFolder, Book],
) -> None:
    sweep, _, book = finished
    assert book.counts() == {"waiting": 0, "running": 0, "stopped": 4, "done": 7, "failed": 1}
    assert book.saved_s == pytest.approx(4 * 8 * 0.5)
    text = standing(sweep, book)
    assert "7 done" in text
    assert "16s saved" in text
    assert as_table(sweep, book, 5).row_count == 5
    board = Board(sweep="test")
    book.export(board)
    series = board.text()
    for state in TRIAL_STATES:
        assert f'vidgen_sweep_trials{{state="{state}",sweep="test"}}' in series
    assert 'vidgen_sweep_trials_wanted{sweep="test"} 12.0' in series
    assert 'vidgen_sweep_best_score{metric="val_loss",sweep="test"}' in series
    assert 'vidgen_sweep_gpu_seconds_saved{sweep="test"} 16.0' in series
    assert 'vidgen_trial_info{run="sweep/t003",sweep="test"} 1.0' in series
