"""The README's commands exist and parse, its recipes are packaged, and its file tree is true."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from vidgen.config.load import recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
COMMANDS = [
    line.removeprefix("$ ").split("#")[0].strip()
    for block in re.findall(r"```console\n(.*?)```", README, re.S)
    for line in block.splitlines()
    if line.startswith("$ vidgen")
]


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("line", COMMANDS)
def test_command_parses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every option and argument is one that the command takes; nothing is run."""
    program, *args = shlex.split(line)
    if program == "vidgen":
        from vidgen.cli import cli as command
    else:
        from vidgen.cloud.cli import group as command
    root: click.Command = command
    context = click.Context(root, info_name=program)
    while isinstance(root, click.Group):
        found = root.get_command(context, args[0])
        assert found is not None, f"{line}: no command {args[0]}"
        root, args = found, args[1:]
    # A path that must exist is the only thing that may be missing here.
    for parameter in root.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)
    root.make_context(program, args, parent=context).close()


def test_recipes_are_listed() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.M)) == set(recipe_names())


def test_file_tree_is_true() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.S)
    assert tree
    named = [line.split()[0] for line in tree.group(1).splitlines()]
    assert [name for name in named if not (ROOT / name).exists()] == []
