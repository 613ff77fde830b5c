"""What guides tell to type besides vidgen: checked against what it names, or said why not."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from test_guides import GUIDES, ROOT

PROGRAMS = (
    "aws|az|docker|eksctl|export|gcloud|git|helm|kind|kubectl|make|python3?|vbench|.venv/bin/pip"
)
# What is not checked here, and why.
ELSEWHERE = {
    r"^git clone": "the reader's own copy",
    r"^(python3 -m venv|export)": "the reader's shell; make demo does the same",
    r"^vbench": "another program",
    r"^(aws|gcloud|az|docker push)": "a cloud's own command, with an account",
    r"^(kubectl|helm (repo|test|uninstall|install (kuberay|monitoring)))": "a cluster",
    r"^helm .*( \.\.\.| -f l4\.yaml)": "stands for values of the reader",
}


def commands() -> list[str]:
    found = set()
    for guide in GUIDES:
        for block in re.findall(r"```(?:console|sh)?\n(.*?)```", guide.read_text(), re.S):
            for line in block.replace("\\\n", " ").splitlines():
                typed = re.split(r" +#", line.removeprefix("$ "))[0].strip()
                found |= {each for each in typed.split(" && ") if re.match(rf"({PROGRAMS}) ", each)}
    return sorted(each for each in found if not any(re.search(p, each) for p in ELSEWHERE))


def make(words: list[str]) -> None:
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M)
    assert words[1] in targets


def pip(words: list[str]) -> None:
    project = (ROOT / "pyproject.toml").read_text().split("[project.optional-dependencies]")[1]
    known = re.findall(r"^(\w+) = \[", project.split("\n[")[0], re.M)
    for word in words:
        for extra in re.findall(r"\[([\w,]+)\]$", word):
            assert set(extra.split(",")) <= set(known)
    assert (ROOT / words[words.index("-c") + 1]).exists()


def docker(words: list[str]) -> None:
    known = re.findall(r"^ARG (\w+)", (ROOT / "Dockerfile").read_text(), re.M)
    given = [words[n + 1].partition("=")[0] for n, w in enumerate(words) if w == "--build-arg"]
    assert set(given) <= set(known)
    assert words[-1] == "."


def kind(words: list[str]) -> None:
    if "--config" in words:
        config = yaml.safe_load((ROOT / words[words.index("--config") + 1]).read_text())
        assert config["kind"] == "Cluster"
    else:
        assert words[1:3] == ["load", "docker-image"]


def helm(words: list[str]) -> None:
    """The chart renders with the files and values of the command."""
    pytest.importorskip("helm_python", reason="needs Helm's engine: pip install helm-python-sdk")
    sys.path.insert(0, str(ROOT / "helm"))
    try:
        import generate
    finally:
        sys.path.remove(str(ROOT / "helm"))
    values: dict[str, Any] = {}
    for n, word in enumerate(words):
        if word == "-f":
            values = yaml.safe_load((ROOT / words[n + 1]).read_text())
    for n, word in enumerate(words):
        if word == "--set":
            key, _, value = words[n + 1].partition("=")
            *path, last = re.split(r"(?<!\\)\.", key)
            inner = values
            for part in path:
                inner = inner.setdefault(part, {})
            value = re.sub(r"\$\w+", "reader", value.replace("$ACCOUNT", "0" * 12))
            inner[last.replace("\\.", ".")] = value
    assert words[2:4] == ["vidgen", "helm/vidgen"]
    assert any(each["kind"] == "ConfigMap" for each in generate.render(values))


CHECKS: dict[str, Callable[[list[str]], None]] = {
    "make": make,
    "pip": pip,
    "docker": docker,
    "kind": kind,
    "helm": helm,
}


def test_there_are_commands() -> None:
    assert len(commands()) > 10


@pytest.mark.parametrize("line", commands())
def test_what_it_names_is_there(line: str) -> None:
    words = shlex.split(line)
    program = Path(words[0]).name
    assert program in CHECKS, f"{line}: give it a check, or say why there is none"
    CHECKS[program](words)
