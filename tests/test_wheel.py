"""A wheel built from the repo, installed where nothing else is: recipes and weights are in it."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[1]


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from what git knows, as a clean clone would."""
    folder = tmp_path_factory.mktemp("wheel")
    tracked = run("git", "ls-files", "--cached", cwd=REPO).splitlines()
    for name in tracked:
        if (REPO / name).is_file():
            target = folder / "source" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((REPO / name).read_bytes())
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, folder / "source", cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


def installed(wheel: Path, folder: Path, extras: str = "") -> Path:
    """The scripts of a new environment with the wheel."""
    run(sys.executable, "-m", "venv", folder / "venv", cwd=folder)
    scripts = folder / "venv" / "bin"
    run(
        scripts / "pip", "install", "--quiet", "--disable-pip-version-check",
        "-c", REPO / "constraints.txt", f"{wheel}{extras}", cwd=folder,
    )  # fmt: skip
    return scripts


def test_every_file_of_the_package_is_in_it(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert set(run("git", "ls-files", "vidgen", cwd=REPO).split()) - packed == set()


@pytest.mark.slow
def test_the_laptop_needs_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    scripts = installed(wheel, tmp_path)
    assert "submit" in run(scripts / "vidgen-cloud", "--help", cwd=tmp_path)
    shown = run(scripts / "vidgen", "recipes", cwd=tmp_path)
    for recipe in (REPO / "vidgen" / "recipes").glob("*.yaml"):
        assert recipe.stem in shown
    assert "family: flow" in run(scripts / "vidgen", "config", "show", "shapes-flow", cwd=tmp_path)
    packages = run(scripts / "pip", "list", "--format=freeze", cwd=tmp_path)
    assert not {"torch", "ray", "numpy"} & {line.partition("==")[0] for line in packages.split()}
    # What only the engine has is asked for in one line.
    missing = subprocess.run(
        [scripts / "vidgen", "train", "shapes-demo"], cwd=tmp_path, capture_output=True, text=True
    )
    assert missing.returncode == 1
    assert "vidgen[train]" in missing.stderr
    assert missing.stderr.count("\n") == 1


@pytest.mark.slow
def test_the_engine_trains_from_the_wheel(wheel: Path, tmp_path: Path) -> None:
    scripts = installed(wheel, tmp_path, "[train]")
    run(scripts / "vidgen", "train", "shapes-flow", "--set", "train.steps=2", "--set",
        "run=run", cwd=tmp_path)  # fmt: skip
    assert (tmp_path / "run" / "model.safetensors").stat().st_size > 0
