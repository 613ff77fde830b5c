"""The commands of the guides are run in one folder, as by a reader who follows them, on less."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import pytest
from test_guides import COMMANDS, ROOT, commands

from vidgen.console import run

sys.path.append(str(ROOT / "tests" / "cloud"))
from cloud_setup import PLATFORM

# What makes a command quick: the last of an option counts, and the last of a key.
LESS = {
    "vidgen data synth": "--clips 40",
    "vidgen train": " ".join(
        f"--set {each}"
        for each in (
            *("data.synthetic.clips=40", "model.width=24", "model.heads=2", "model.depth=1"),
            *("train.steps=6", "train.batch_size=4", "train.samples=2", "train.checkpoint_every=1"),
            *("train.log_every=1", "train.validate_every=1", "train.validate_clips=4"),
            *("evaluate.clips=4", "evaluate.training_clips=0", "sampling.batch_size=2"),
        )
    ),
    "vidgen bench": "--calls 1",
    "vidgen study create": "--pairs 2 --marks 1 --checks 1 --repeats 0",
}
QUICK = re.compile(
    r"vidgen (recipes|config|data (synth|prepare|inspect)|tune .*--dry-run)|.*--dry-run$"
)
# What is not run here, and why.
ELSEWHERE = {
    r"s3://": "a bucket: tests of storage, data and engine have a server",
    r"^vidgen top": "does not end; tests/observe/test_live.py",
    r"^vidgen tune (?!.*--dry-run)": "hours; tests/tune",
    r"/best\.yaml": "what such a sweep leaves",
    r"^vidgen-cloud (?!.*--dry-run)": "a cluster; tests/cloud has one that is acted",
}
RUNS = ("one", "two", "RUN", "RUN2", "runs/NAME")  # stand for a run that the reader has


def here(line: str) -> bool:
    return not any(re.search(pattern, line) for pattern in ELSEWHERE)


def stage(line: str) -> int:
    """Clips before runs, runs before what is made of them, comparisons last."""
    stages = ("data synth", "data prepare", "train", "evaluate (?!.*--against)", "evaluate")
    found = [n for n, each in enumerate(stages) if re.match(f"vidgen {each}", line)]
    return found[0] if found else len(stages)


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a reader works in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VIDGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VIDGEN_PLATFORM", str(tmp_path / "platform.yaml"))
    (tmp_path / "platform.yaml").write_text(PLATFORM)
    for name in ("tune_configs", "k8s"):
        (tmp_path / name).symlink_to(ROOT / name)
    for name in ("PROMPTS", "prompts.txt"):
        (tmp_path / name).write_text("a red circle\n")
    return tmp_path


def follow(line: str, capfd: pytest.CaptureFixture[str]) -> str:
    """What a command line prints. Raises AssertionError if it fails."""
    from vidgen.cli import cli
    from vidgen.cloud.cli import group

    less = [more for name, more in LESS.items() if line.startswith(name)]
    program, *args = shlex.split(" ".join([line, *less]))
    with pytest.raises(SystemExit) as stop:
        run(cli if program == "vidgen" else group, args)
    out, err = capfd.readouterr()
    assert stop.value.code == 0, f"{line}\n{out[-2000:]}{err[-2000:]}"
    return out


def test_quick_ones(reader: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in COMMANDS if here(line) and QUICK.match(line)]
    lines = [line for line in lines if not line.startswith("vidgen train")]
    assert len(lines) > 6
    said = {}
    for line in sorted(lines, key=stage):
        if "path/to/clips" in line:
            shutil.copytree("demo/videos", "path/to/clips")
        said[line] = follow(line, capfd)
        assert said[line].strip(), line
    assert "40 clips of 32x32" in next(out for line, out in said.items() if "demo/data" in line)


@pytest.mark.slow
def test_all_of_them(reader: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Those of README and quickstart in their order, then the others."""
    told = [line for name in ("README.md", "docs/quickstart.md") for line in commands(ROOT / name)]
    first = [line for line in dict.fromkeys(told) if here(line)]
    done: set[str] = set()
    failures: list[str] = []
    for line in [*first, *sorted(set(COMMANDS) - set(first), key=lambda line: (stage(line), line))]:
        if not here(line):
            continue
        if "path/to/clips" in line and line not in done:
            shutil.copytree("demo/videos", "path/to/clips", dirs_exist_ok=True)
        try:
            follow(line.replace("--step 500 --step 1000", "--step 5 --step 6"), capfd)
        except AssertionError as error:
            failures.append(str(error))
        done.add(line)
        if line == "vidgen evaluate demo/run":
            for name in RUNS:
                shutil.copytree("demo/run", name)
            shutil.copytree("demo/data", "DATASET")
    assert "\n".join(failures) == ""
    assert len(done) > 25
