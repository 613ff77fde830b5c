"""The commands of README and guides exist and parse, and what these point at is there."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from vidgen.config.load import recipe_names

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def commands(guide: Path) -> list[str]:
    """What a guide tells to type, without the remarks behind two spaces or #."""
    blocks = re.findall(r"```(?:console|sh)?\n(.*?)```", guide.read_text(), re.S)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    typed = [
        re.split(r" #|(?<=\S)  +(?=[^- ])", line.removeprefix("$ "))[0].strip() for line in lines
    ]
    return [line for line in typed if re.match(r"vidgen(-cloud)? ", line)]


COMMANDS = sorted({line for guide in GUIDES for line in commands(guide)})


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 40


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
        _, args, _ = root.make_parser(context).parse_args(args)  # takes the group's own options
        found = root.get_command(context, args[0])
        assert found is not None, f"{line}: no command {args[0]}"
        root, args = found, args[1:]
    # A path that must exist is the only thing that may be missing here.
    for parameter in root.params:
        if isinstance(parameter.type, click.Path):
            monkeypatch.setattr(parameter.type, "exists", False)
    root.make_context(program, args, parent=context).close()


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.name)
def test_what_a_guide_points_at_is_there(guide: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", guide.read_text())
    assert [each for each in targets if not (guide.parent / each).exists()] == []


def test_every_guide_is_in_the_index() -> None:
    index = ROOT / "docs" / "README.md"
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", index.read_text()))
    assert {guide.name for guide in index.parent.glob("*.md")} - {index.name} == linked
    assert "(docs/README.md)" in README


def test_the_reference_of_all_keys_is_up_to_date() -> None:
    command = [sys.executable, ROOT / "docs" / "configuration.py", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_recipes_are_listed() -> None:
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \|", README, re.M)) == set(recipe_names())


def test_file_tree_is_true() -> None:
    tree = re.search(r"## What is where\n\n```\n(.*?)```", README, re.S)
    assert tree
    named = [line.split()[0] for line in tree.group(1).splitlines()]
    assert [name for name in named if not (ROOT / name).exists()] == []
