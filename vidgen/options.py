"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])


def set_option(example: str) -> Callable[[Command], Command]:
    """`--set KEY=VALUE`, which may be repeated."""
    return click.option(
        "--set", "overrides", metavar="KEY=VALUE", multiple=True, help=f"Change a key: {example}."
    )


endpoint_option = click.option(
    "--endpoint-url", metavar="URL", help="S3-compatible server; default: AWS_ENDPOINT_URL or AWS."
)
guidance_option = click.option(
    "--guidance", type=click.FloatRange(min=0), help="Guidance scale; 1 turns it off."
)
step_option = click.option(
    "--step", type=click.IntRange(min=0), metavar="K", help="Checkpoint; default: newest."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
