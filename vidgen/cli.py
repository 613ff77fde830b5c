"""`vidgen`: train, generate, evaluate and report. Thin: each command imports what it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

import click

from vidgen import __version__
from vidgen.console import run
from vidgen.data_cli import data
from vidgen.measure_cli import bench, evaluate, report
from vidgen.observe_cli import explain, top
from vidgen.options import (
    endpoint_option,
    guidance_option,
    json_option,
    set_option,
    step_option,
)
from vidgen.study_cli import study
from vidgen.tune_cli import tune


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="vidgen")
def cli() -> None:
    """Train video-generation models, watch what they make, and score it.

    RUN is a run folder, local or s3://bucket/prefix, as `vidgen train` printed it.
    """


cli.add_command(data)
cli.add_command(evaluate)
cli.add_command(bench)
cli.add_command(report)
cli.add_command(study)
cli.add_command(top)
cli.add_command(explain)
cli.add_command(tune)


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
    from rich.table import Column, Table

    names = Column("recipe", no_wrap=True)  # a name is there to be copied
    table = Table(names, "family", "clip", "what it does", box=None, pad_edge=False)
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
@set_option("train.steps=100")
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
@set_option("train.steps=100")
@click.option(
    "--workers", type=click.IntRange(min=0), help="Ray Train workers; 0 trains in this process."
)
@click.option("--resume", metavar="RUN", help="Go on from a run's newest checkpoint.")
@click.option(
    "--dry-run", is_flag=True, help="Do a few steps: memory, largest batch, time to the end."
)
@json_option
def train(
    source: str | None,
    overrides: tuple[str, ...],
    workers: int | None,
    resume: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Train a model, or go on with one: `vidgen train --resume RUN`."""
    from vidgen.config.load import dump, load_options, load_run, parse_run
    from vidgen.config.run import StorageConfig

    if workers is not None:
        overrides = (*overrides, f"scale.workers={workers}")
    if source is not None:
        settings = load_run(source, overrides)
    elif resume is not None:
        from vidgen.storage.run_folder import CONFIG, RunFolder

        reach = [o.removeprefix("storage.") for o in overrides if o.startswith("storage.")]
        settings = RunFolder(resume, load_options(StorageConfig, reach)).config()
        if overrides:
            settings = parse_run(dump(settings), f"{resume}/{CONFIG}", overrides)
    else:
        raise click.UsageError("Give a recipe or a config file, or --resume RUN.")
    if as_json and not dry_run:
        raise click.UsageError("--json goes with --dry-run; a run's numbers are in metrics.jsonl.")

    if dry_run:
        from vidgen.engine.dry_run import dry_run as probe

        found = probe(settings)
        click.echo(json.dumps(found.to_json(), indent=2) if as_json else str(found))
        return
    from vidgen.engine.train import train as start

    start(settings, resume=resume)


picture_option = click.Path(exists=True, dir_okay=False, path_type=Path)


@cli.command()
@click.argument("run", metavar="RUN")
@click.option("--n", type=click.IntRange(min=1), help="Videos per caption; 4 if there is but one.")
@click.option("--caption", "captions", metavar="TEXT", multiple=True, help="May be repeated.")
@click.option("--label", metavar="L", help="Class, by name or number.")
@click.option("--image", type=picture_option, metavar="PNG", help="First frame.")
@click.option("--sketch", type=picture_option, metavar="PNG", help="Edges, bright on dark.")
@click.option("--past", type=picture_option, metavar="MP4", help="Video to go on from.")
@click.option("--from", "source", type=picture_option, metavar="VIDEO", help="Make this one over.")
@click.option(
    "--strength", type=click.FloatRange(0, 1), default=0.7, show_default=True,
    help="With --from: how much may change.",
)  # fmt: skip
@click.option(
    "--vbench", type=picture_option, metavar="PROMPTS", help="Videos of these prompts, for VBench."
)
@click.option("--out", metavar="DIR", help="Folder or s3://; default: generated/<run>-<time>.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Seed of the noise.")
@guidance_option
@step_option
@endpoint_option
@json_option
def generate(
    run: str,
    n: int | None,
    captions: tuple[str, ...],
    label: str | None,
    image: Path | None,
    sketch: Path | None,
    past: Path | None,
    source: Path | None,
    strength: float,
    vbench: Path | None,
    out: str | None,
    seed: int,
    guidance: float | None,
    step: int | None,
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Generate videos as MP4 files and a contact sheet.

    A condition that is not given is left to the model. --vbench PROMPTS, a text file with a prompt
    a line or VBench_full_info.json, instead lays videos out as the benchmark VBench reads them.
    """
    from vidgen.config.run import StorageConfig
    from vidgen.engine.generate import RECORD, SHEET
    from vidgen.engine.generate import generate as start
    from vidgen.engine.prompts import OPTIONS, Prompt

    if vbench is not None:
        from vidgen.engine.vbench import export_vbench
        from vidgen.observe.bar import bar

        if captions or label or image or sketch or past or source:
            raise click.UsageError("--vbench brings its own prompts: give no other condition.")
        with bar("generating") as tell:
            url = export_vbench(
                run,
                vbench,
                out or "vbench",
                n=n,
                seed=seed,
                guidance=guidance,
                step=step,
                storage=StorageConfig(endpoint_url=endpoint_url),
                tell=tell,
            )
        click.echo(json.dumps({"videos": url}, indent=2) if as_json else url)
        return
    prompt = Prompt(captions=captions, label=label, image=image, sketch=sketch, past=past)
    made = start(
        run,
        prompt,
        n=n,
        out=out,
        seed=seed,
        guidance=guidance,
        step=step,
        storage=StorageConfig(endpoint_url=endpoint_url),
        source=source,
        strength=strength,
    )
    if as_json:
        click.echo(json.dumps({"url": made.url, **made.record}, indent=2))
        return
    if made.untold:
        options = ", ".join(OPTIONS[name] for name in made.untold)
        click.echo(f"note: without {options} the model shows whatever it has learned", err=True)
    for name in (*made.files, SHEET, RECORD):
        click.echo(f"{made.url}/{name}")


def _plain(source: str, overrides: tuple[str, ...] = ()) -> object:
    """A checked config as JSON values."""
    from vidgen.config.load import load_run

    return load_run(source, overrides).model_dump(mode="json")


def main() -> NoReturn:
    """Entry point of the console script."""
    run(cli)
