"""`vidgen tune`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from vidgen.options import json_option, set_option

if TYPE_CHECKING:
    from vidgen.config.load_sweep import Sweep


@click.command()
@click.argument("source", metavar="FILE")
@set_option("budget.trials=4")
@click.option("--resume", is_flag=True, help="Go on with the sweep that its folder holds.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the trials; start none.")
@json_option
def tune(
    source: str, overrides: tuple[str, ...], resume: bool, dry_run: bool, as_json: bool
) -> None:
    """Search for a better config: FILE is a sweep, or the name of a packaged one.

    Every config that the sweep can make is checked before anything starts.
    """
    from vidgen.config.load_sweep import load_sweep

    sweep = load_sweep(source, overrides)
    if dry_run:
        _show(sweep, as_json=as_json)
        return
    from rich.console import Console

    from vidgen.tune.tune import tune as start

    console = Console(highlight=False, soft_wrap=True, stderr=as_json)
    book = start(sweep, resume=resume, console=console)
    if as_json:
        click.echo(json.dumps(book.summary(), indent=2))


def _show(sweep: Sweep, *, as_json: bool) -> None:
    points = sweep.points
    if as_json:
        found = {
            "name": sweep.config.name,
            "folder": sweep.url,
            "trials": sweep.trials,
            "steps": sweep.steps,
            "search": sweep.config.search.kind,
            "scheduler": sweep.config.scheduler.kind,
            "points": points,
        }
        click.echo(json.dumps(found, indent=2))
        return
    config = sweep.config
    click.echo(
        f"{config.name}: {sweep.trials} trials of {sweep.steps} steps, search "
        f"{config.search.kind}, scheduler {config.scheduler.kind}, into {sweep.url}"
    )
    if points is None:
        click.echo("optuna decides what each trial is once it knows the ones before")
        return
    from rich.console import Console
    from rich.table import Table

    table = Table("trial", *config.space, box=None, pad_edge=False)
    for number, values in enumerate(points[: sweep.trials]):
        table.add_row(f"t{number:03d}", *(str(values.get(key, "-")) for key in config.space))
    Console().print(table)
