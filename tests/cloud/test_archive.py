"""The code archive: what goes in, and that its name is its content."""

from __future__ import annotations

import os
import subprocess
import zipfile
from io import BytesIO
from pathlib import Path

import pytest

import vidgen.cloud.archive
from vidgen.cloud.archive import pack
from vidgen.errors import ConfigError
from vidgen.storage.open import open_store


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name, text in {
        "train.py": "print('hi')",
        "pkg/model.py": "x = 1",
        "pkg/__pycache__/model.pyc": "no",
        "pkg/.gitignore": "*.tmp\n!keep.tmp\n",
        "pkg/a.tmp": "no",
        "pkg/keep.tmp": "yes",
        ".gitignore": "data/\n*.log\n/only-here.txt\n",
        ".vidgenignore": "notes.md\n",
        "data/clip.mp4": "no",
        "pkg/data/clip.mp4": "no",
        "run.log": "no",
        "notes.md": "no",
        "only-here.txt": "no",
        "pkg/only-here.txt": "yes",
        ".env": "AWS_SECRET_ACCESS_KEY=1",
        ".git/HEAD": "no",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(BytesIO(data)).namelist()


def test_ignore_files_are_honoured_and_secrets_stay_home(project: Path) -> None:
    archive = pack(project)
    assert names(archive.data) == [
        ".vidgen-code", ".gitignore", ".vidgenignore", "pkg/.gitignore", "pkg/keep.tmp",
        "pkg/model.py", "pkg/only-here.txt", "train.py",
    ]  # fmt: skip
    assert archive.files == 7


def test_git_agrees(project: Path) -> None:
    """What .gitignore leaves out is what git leaves out."""
    (project / ".vidgenignore").unlink()
    (project / ".env").unlink()
    subprocess.run(["rm", "-rf", project / ".git"], check=True)
    subprocess.run(["git", "init", "-q", project], check=True)
    (project / ".gitignore").write_text("data/\n*.log\n/only-here.txt\n__pycache__/\n")
    listed = subprocess.run(
        ["git", "-C", project, "ls-files", "--others", "--exclude-standard"],
        check=True, capture_output=True, text=True,
    ).stdout.split()  # fmt: skip
    assert sorted(names(pack(project).data)[1:]) == sorted(listed)


def test_the_same_files_are_the_same_archive(project: Path) -> None:
    first = pack(project)
    os.utime(project / "train.py", (1, 1))
    (project / "data" / "more.mp4").write_text("ignored anyway")
    assert pack(project).sha256 == first.sha256
    (project / "train.py").write_text("print('ho')")
    assert pack(project).sha256 != first.sha256


def test_a_lone_folder_is_not_stripped_by_ray(tmp_path: Path) -> None:
    """Ray drops a zip's top folder when nothing is beside it."""
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "model.py").write_text("x = 1")
    assert {name.split("/")[0] for name in names(pack(tmp_path).data)} == {".vidgen-code", "pkg"}


def test_links_out_of_the_folder_are_left_out_and_told(project: Path) -> None:
    (project / "outside").symlink_to("/etc/passwd")
    (project / "inside").symlink_to(project / "train.py")
    archive = pack(project)
    assert archive.left_out == ("outside",)
    assert "inside" in names(archive.data)


def test_too_large_names_the_largest(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vidgen.cloud.archive, "LARGEST", 1000)
    (project / "weights.bin").write_bytes(os.urandom(5000))
    with pytest.raises(ConfigError, match=r"weights\.bin.*\.vidgenignore"):
        pack(project)


def test_nothing_to_send_and_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to send"):
        pack(tmp_path)
    with pytest.raises(ConfigError, match="no such directory"):
        pack(tmp_path / "none")


def test_uploaded_once(project: Path, s3_bucket: str) -> None:
    store, archive = open_store(f"{s3_bucket}/team"), pack(project)
    assert archive.upload(store)
    assert not archive.upload(store)
    assert store.read(archive.key) == archive.data
