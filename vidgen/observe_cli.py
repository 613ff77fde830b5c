"""`vidgen top` and `vidgen explain`."""

from __future__ import annotations

import json
from dataclasses import asdict

import click

from vidgen.options import endpoint_option, json_option


@click.command()
@click.argument("where", metavar="[RUN|FOLDER|URL]", required=False)
@click.option(
    "--every", type=click.FloatRange(min=0.2), default=2.0, help="Seconds to the next look."
)
@endpoint_option
@json_option
def top(where: str | None, every: float, endpoint_url: str | None, as_json: bool) -> None:
    """Watch one run or all of them.

    WHERE is a run folder, a folder of runs (default: runs), local or s3://, or the http:// url of
    an exporter, as VIDGEN_METRICS_PORT opens one.
    """
    from rich.console import Console

    from vidgen.config.run import StorageConfig
    from vidgen.observe.run_view import open_views
    from vidgen.observe.top import watch
    from vidgen.storage.open import open_store
    from vidgen.storage.run_folder import RunFolder

    storage = StorageConfig(endpoint_url=endpoint_url)

    def look() -> list:  # type: ignore[type-arg]
        return open_views(
            where, lambda url: RunFolder(url, storage), lambda url: open_store(url, storage)
        )

    if as_json:
        click.echo(json.dumps([asdict(view) for view in look()], indent=2))
        return
    watch(look, every_s=every, console=Console())


@click.command()
@click.argument("run", metavar="RUN")
@endpoint_option
@json_option
def explain(run: str, endpoint_url: str | None, as_json: bool) -> None:
    """Say what limits a run, and what to try."""
    from rich.console import Console

    from vidgen.config.run import StorageConfig
    from vidgen.errors import TrainingError
    from vidgen.observe.explain import explain as answer
    from vidgen.storage.run_folder import RunFolder

    folder = RunFolder(run, StorageConfig(endpoint_url=endpoint_url))
    config, lines = folder.config(), list(folder.metrics())
    found = answer(config, lines)
    if found is None:
        raise TrainingError(
            f"{folder.url} has too few lines in metrics.jsonl to say anything",
            fix=f"Wait for a few times train.log_every = {config.train.log_every} steps.",
        )
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.limit.what}: {found.limit.text}")
    for each in found.limit.tries:
        console.print(f"  try: {each}")
    for other in found.others:
        console.print(f"also {other.what}: {other.text}")
        for each in other.tries:
            console.print(f"  try: {each}")
    parts = ", ".join(f"{name} {share:.0%}" for name, share in found.shares.items())
    console.print(f"of {found.step_s:.3g} s a step over {found.steps} steps: {parts}")
