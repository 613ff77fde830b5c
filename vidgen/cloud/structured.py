"""Output for programs: `-o json`, `-o yaml`, and `--json` for short."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_FORMATS = click.Choice(["text", "json", "yaml"])


def output_option(command: Callable[..., int]) -> Callable[..., int]:
    """Gives the command its format as `output`: text, json or yaml."""

    @click.option("-o", "--output", type=_FORMATS, default="text", help="Format.")
    @click.option("--json", "as_json", is_flag=True, help="The same as -o json.")
    @functools.wraps(command)
    def chosen(*args: Any, output: str, as_json: bool, **given: Any) -> int:
        if as_json and output == "yaml":
            raise click.UsageError("Give --json or -o yaml, not both.")
        return command(*args, output="json" if as_json else output, **given)

    return chosen


def print_value(value: Any, output: str) -> None:
    """Print plain data as `output`, which is json or yaml."""
    if output == "yaml":
        import yaml

        click.echo(yaml.safe_dump(value, sort_keys=False, width=100), nl=False)
    else:
        import json

        click.echo(json.dumps(value, indent=2))
