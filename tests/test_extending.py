"""The guide to extending: its files are written, its commands run, and what they leave is seen."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
GUIDE = (ROOT / "docs" / "extending.md").read_text()
# name -> text of each block that begins with the name of its file
FILES = dict(re.findall(r"```(?:python|yaml|toml)\n# (\S+)\n(.*?)```", GUIDE, re.S))
COMMANDS = [
    line.removeprefix("$ ")
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.S)
    for line in block.splitlines()
]


# The reader's session: the clips of linear.yaml in a zip, then every command in one process.
SESSION = """
import contextlib, io, json, shlex, sys, zipfile
from pathlib import Path
from vidgen.cli import cli
from vidgen.config.load import load_run
from vidgen.data.ensure import ensure_dataset

clips = Path(ensure_dataset(load_run("./linear.yaml")).store.url)
with zipfile.ZipFile("clips.zip", "w") as packed:
    for path in sorted(clips.rglob("*")):
        if path.is_file():
            packed.write(path, path.relative_to(clips))
said = {}
for line in sys.argv[1:]:
    with contextlib.redirect_stdout(io.StringIO()) as out:
        cli.main(shlex.split(line)[1:], prog_name="vidgen", standalone_mode=False)
    said[line] = out.getvalue()
Path("said.json").write_text(json.dumps(said))
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The reader's folder with the files of the guide."""
    folder = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def folder(files: Path) -> Path:
    """The same once all has been typed; said.json has what each command said."""
    entry = re.search(r'zip = "(.*)"', FILES["pyproject.toml"])
    assert entry
    install(files, "zip-store", f"zip = {entry.group(1)}")
    done = subprocess.run(
        [sys.executable, "-c", SESSION, *COMMANDS[1:]],
        cwd=files, capture_output=True, text=True, timeout=280,
        env={
            **os.environ, "PYTHONPATH": f".{os.pathsep}{ROOT}", "OMP_NUM_THREADS": "1",
            "VIDGEN_CACHE": str(files / "cache"),
        },
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return files


def install(folder: Path, name: str, entry: str) -> None:
    """Leave what pip leaves of a package with a store."""
    told = folder / f"{name.replace('-', '_')}-1.dist-info"
    told.mkdir()
    (told / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (told / "entry_points.txt").write_text(f"[vidgen.stores]\n{entry}\n")


def said(folder: Path, start: str) -> str:
    """What the command that starts so printed."""
    found: dict[str, str] = json.loads((folder / "said.json").read_text())
    (text,) = [text for line, text in found.items() if line.startswith(start)]
    return text


def numbers(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_path_is_set_first() -> None:
    assert COMMANDS[0] == "export PYTHONPATH=."
    assert len(COMMANDS) > 6


def test_a_family_trains(folder: Path) -> None:
    assert "family: my_models.linear" in said(folder, "vidgen config show")
    losses = [row["val_loss"] for row in numbers(folder / "runs/linear") if "val_loss" in row]
    assert losses[-1] < losses[0]
    assert (folder / "runs/linear/model.safetensors").is_file()


def test_a_metric_scores(folder: Path) -> None:
    assert re.search(r"Drift ↓ +0\.\d+", said(folder, "vidgen evaluate"))
    scores = json.loads((folder / "runs/drift/eval.json").read_text())["scores"]
    (found,) = [score for score in scores if score["name"] == "drift"]
    assert 0 < found["value"] < 1
    assert found["protocol"]["n"] > 1


def test_a_reward_is_trained_for(folder: Path) -> None:
    name = "reward_my_rewards:colourful"
    rewards = [row[name] for row in numbers(folder / "runs/colourful") if name in row]
    assert rewards
    assert all(0 < each < 1 for each in rewards)


def test_a_store_is_read(folder: Path) -> None:
    assert "train" in said(folder, "vidgen data inspect zip://")
    folder_of = [folder / "runs" / name / "metrics.jsonl" for name in ("linear", "zipped")]
    kept = [[row.get("loss") for row in numbers(each.parent)] for each in folder_of]
    assert kept[0] == kept[1]  # the same clips in the same order


def test_a_preset_renders(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("helm_python", reason="needs Helm's engine: pip install helm-python-sdk")
    monkeypatch.syspath_prepend(str(ROOT / "helm"))
    import generate  # helm/generate.py

    from vidgen.cloud.platform import parse_platform

    (line,) = [each for each in GUIDE.splitlines() if each.startswith("helm install")]
    words = shlex.split(line)
    given = [words[at + 1] for at, word in enumerate(words) if word == "-f"]
    values = [
        yaml.safe_load((ROOT / name if "/" in name else files / name).read_text()) for name in given
    ]
    objects = generate.render(generate.merged(*values))
    (config,) = [each for each in objects if each["metadata"]["name"] == "vidgen-platform"]
    pools = parse_platform(config["data"]["platform.yaml"], "l4.yaml").pools
    assert set(pools) == {"a100", "l4"}
    assert pools["l4"].gpus_per_node == 4
    assert pools["l4"].precision == "bf16"


@pytest.mark.parametrize(
    ("family", "says"),
    [
        ("linaer", "or the import path of your own"),
        ("my_modules.linear", "No module named 'my_modules'"),
        (".linear", "cannot be imported"),
    ],
)
def test_a_family_that_is_not_there(family: str, says: str) -> None:
    from vidgen.config.families import config_class

    with pytest.raises(ValueError, match=re.escape(says)):
        config_class(family)


@pytest.mark.parametrize("path", ["nowhere:Drift", "json:loads", "json", ":x"])
def test_a_metric_that_is_none(path: str) -> None:
    from vidgen.engine.measures import Own
    from vidgen.errors import ConfigError

    with pytest.raises(ConfigError, match=r"evaluate\.metrics: "):
        Own([path])


def test_a_store_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vidgen.errors import StorageError
    from vidgen.storage.open import open_store

    install(tmp_path, "broken", "broken = not_there:open")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(StorageError, match="not_there:open"):
        open_store("broken://x")
