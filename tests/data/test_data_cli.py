"""`vidgen data ...`: what it prints, how it exits, what it warns of."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from moving import make_sources, moving_square

from vidgen.cli import cli
from vidgen.console import run
from vidgen.data.encode import write_mp4
from vidgen.data.inspect import inspect


def vidgen(capfd: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    """(exit code, stdout, stderr) of a command."""
    with pytest.raises(SystemExit) as ended:
        run(cli, words)
    out, err = capfd.readouterr()
    return int(ended.value.code or 0), out, err


def test_synth_prepare_inspect(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    raw, made = str(tmp_path / "raw"), str(tmp_path / "made")
    code, out, _ = vidgen(capfd, "data", "synth", raw, "--clips", "12", "--seed", "3")
    assert (code, out.splitlines()[-1]) == (0, f"next: vidgen data prepare {raw} {raw}-prepared")
    with (tmp_path / "raw" / "captions.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == len(list(Path(raw).glob("*.mp4"))) == 12

    sizes = ["--set", "width=32", "--set", "height=32", "--set", "fps=8"]
    code, out, err = vidgen(capfd, "data", "prepare", raw, made, *sizes)
    assert code == 0, err
    assert "12 clips of 32x32 at 8 fps: 10 train, 1 val, 1 test" in out
    assert "13 files seen = 12 kept + 0 rejected + 1 not video" in out
    code, out, _ = vidgen(capfd, "data", "prepare", raw, made, *sizes, "--json")
    assert json.loads(out)["clips"] == {"train": 10, "val": 1, "test": 1}

    code, out, _ = vidgen(capfd, "data", "inspect", made)
    assert code == 0
    for text in ("train", "motion", "brightness", "caption_words", "circle"):
        assert text in out
    code, out, _ = vidgen(capfd, "data", "inspect", made, "--json")
    found = json.loads(out)
    assert found["splits"]["train"]["clips"] == 10
    assert sum(found["histograms"]["motion"]["counts"]) == 12


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["prepare", "{tmp}/missing", "{tmp}/x"], 1, "missing does not exist"),
        (["prepare", "{tmp}", "{tmp}/x"], 1, "no video in"),
        (["prepare", "{tmp}", "{tmp}/x", "--set", "widht=8"], 2, "did you mean 'width'"),
        (["prepare", "gs://a/b", "{tmp}/x"], 1, "unknown scheme 'gs'"),
        (["prepare", "{tmp}"], 2, "DEST"),
        (["inspect", "{tmp}"], 1, "holds no prepared data set"),
        (["synth", "{tmp}/x", "--clips", "0"], 2, "--clips"),
        (["synth", "{tmp}/file/x", "--clips", "1"], 1, "cannot write"),
    ],
)
def test_failures_are_one_line(
    words: list[str], code: int, says: str, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("x")
    found, out, err = vidgen(capfd, "data", *(word.format(tmp=tmp_path) for word in words))
    assert found == code
    assert says in err
    assert out == ""
    assert len(err.strip().splitlines()) == 1


def test_ctrl_c_keeps_what_is_done(tmp_path: Path) -> None:
    raw = make_sources(tmp_path / "raw", 30, frames=60, height=120, width=160)
    command = [
        *(sys.executable, "-c", "from vidgen.cli import main; main()", "data", "prepare"),
        *(str(raw), str(tmp_path / "made"), "--set", "width=64", "--set", "workers=2"),
    ]
    started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    while not list((tmp_path / "made").glob("parts/*")):
        assert started.poll() is None
        time.sleep(0.02)
    os.killpg(started.pid, signal.SIGINT)  # as a terminal does
    _, err = started.communicate()
    assert started.returncode == 130, err
    assert err.startswith("interrupted: stopped after ")
    assert err.count("\n") == 1
    assert list((tmp_path / "made" / "journal").glob("*.jsonl")) or "after 0 of" in err


def test_inspection_warns_of_what_is_wrong(tmp_path: Path) -> None:
    from vidgen.config.prepare import PrepareOptions
    from vidgen.data.prepare import prepare

    raw = tmp_path / "raw"
    raw.mkdir()
    rows = [["file", "caption", "label", "split"]]
    for n in range(12):
        dark = (moving_square(n) // 16).astype(np.uint8)
        dark[:, :8, :8] = np.linspace(0, 255, 24, dtype=np.uint8)[:, None, None, None]
        write_mp4(raw / f"{n:02d}.mp4", dark, 12)
        rare = n == 11
        rows.append(
            [f"{n:02d}.mp4", "the same", "rare" if rare else "common", "test" if rare else "train"]
        )
    write_mp4(raw / "12.mp4", moving_square(0), 12)
    for n in range(3):
        (raw / f"bad{n}.mp4").write_text("x")
    with (raw / "captions.csv").open("w", newline="") as file:
        csv.writer(file).writerows([*rows, ["12.mp4", "", "", "train"]])
    keep: Any = {"min_brightness": 0, "max_blur": 1, "max_frozen": 1, "duplicates": "keep"}
    options = PrepareOptions(width=32, height=32, fps=12, workers=2, min_moving=0, **keep)
    prepare(str(raw), str(tmp_path / "made"), options)
    warnings = "\n".join(inspect(str(tmp_path / "made"))["warnings"])
    for text in (
        "1 of 13 clips have no caption",
        "1 of 13 clips have no label",
        "labels are unbalanced: 11 clips of 'common', 1 of 'rare'",
        "split test has labels that train lacks: rare",
        "1 of 1 captions of split test are in train too",
        "clips are nearly dark all over",
        "3 of 16 videos were rejected",
        "split val is empty",
    ):
        assert text in warnings


def test_a_page_to_look_at(
    capfd: pytest.CaptureFixture[str], prepared: Path, tmp_path: Path
) -> None:
    page = tmp_path / "sub" / "page.html"
    code, out, err = vidgen(capfd, "data", "inspect", str(prepared), "--html", str(page))
    assert code == 0, err
    assert f"page: {page}" in out
    text = page.read_text()
    for wanted in (
        '<th scope="row">train</th>',
        "quality",
        "motion",
        "kind0",
        "width=device-width",
    ):
        assert wanted in text
    assert text.count('<figure class="histogram">') == 9
    assert text.count("<video") == sum(
        s["clips"] for s in inspect(str(prepared))["splits"].values()
    )
    assert "http" not in text.replace("http-equiv", "")  # needs nothing else
