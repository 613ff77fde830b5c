"""`vidgen`: train, generate, evaluate and report. Thin: each command imports what it needs."""

from __future__ import annotations

import json
from typing import NoReturn

import click

from vidgen import __version__
from vidgen.console import run

set_option = click.option(
    "--set", "overrides", metavar="KEY=VALUE", multiple=True, help="Change a key: train.steps=100."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vidgen")
def cli() -> None:
    """Train video-generation models, watch what they make, and score it.

    RUN is a run folder, local or s3://bucket/prefix, as `vidgen train` printed it.
    """


@cli.command()
@click.argument("name", required=False)
@json_option
def recipes(name: str | None, as_json: bool) -> None:
    """List the packaged recipes, or print one as YAML."""
    from vidgen.config.load import load_run, recipe_names, recipe_text

    if name is not None:
        text = recipe_text(name)
        click.echo(json.dumps(_plain(name), indent=2) if as_json else text, nl=as_json)
        return
    loaded = {each: load_run(each) for each in recipe_names()}
    if as_json:
        rows = [
            {"name": each, "description": config.description, "family": config.model.family}
            for each, config in loaded.items()
        ]
        click.echo(json.dumps(rows, indent=2))
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("recipe", "family", "clip", "what it does", box=None, pad_edge=False)
    for each, config in loaded.items():
        data = config.data
        size = f"{data.frames}x{data.height}x{data.width}"
        table.add_row(each, config.model.family, size, config.description)
    Console().print(table)


@cli.group()
def config() -> None:
    """Show a run's config, or the schema of all configs."""


@config.command()
@click.argument("source", metavar="RECIPE|FILE")
@set_option
@json_option
def show(source: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Check a config and print it with every default filled in."""
    from vidgen.config.load import dump, load_run

    if as_json:
        click.echo(json.dumps(_plain(source, overrides), indent=2))
    else:
        click.echo(dump(load_run(source, overrides)), nl=False)


@config.command()
def schema() -> None:
    """Print the JSON schema of a run config."""
    from vidgen.config.schema import run_schema

    click.echo(json.dumps(run_schema(), indent=2))


@cli.command()
@click.argument("source", metavar="RECIPE|FILE", required=False)
@set_option
@click.option(
    "--workers", type=click.IntRange(min=0), help="Ray Train workers; 0 trains in this process."
)
@click.option("--resume", metavar="RUN", help="Go on from a run's newest checkpoint.")
def train(
    source: str | None, overrides: tuple[str, ...], workers: int | None, resume: str | None
) -> None:
    """Train a model, or go on with a run: `vidgen train --resume RUN`."""
    from vidgen.config.load import dump, load_run, parse_run

    if workers is not None:
        overrides = (*overrides, f"scale.workers={workers}")
    if source is not None:
        settings = load_run(source, overrides)
    elif resume is not None:
        from vidgen.storage.run_folder import CONFIG, RunFolder

        settings = RunFolder(resume).config()
        if overrides:
            settings = parse_run(dump(settings), f"{resume}/{CONFIG}", overrides)
    else:
        raise click.UsageError("Give a recipe or a config file, or --resume RUN.")

    from vidgen.engine.train import train as start

    start(settings, resume=resume)


def _plain(source: str, overrides: tuple[str, ...] = ()) -> object:
    """A checked config as JSON values."""
    from vidgen.config.load import load_run

    return load_run(source, overrides).model_dump(mode="json")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(cli)
