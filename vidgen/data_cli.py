"""`vidgen data`: make, prepare and look at data sets. Each command imports what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidgen.options import endpoint_option, json_option, set_option


@click.group()
def data() -> None:
    """Make, prepare and inspect data sets."""


@data.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--clips", type=click.IntRange(min=1), default=2400, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def synth(folder: Path, clips: int, seed: int) -> None:
    """Draw captioned moving shapes as MP4 files, with captions.csv, into FOLDER."""
    from vidgen.data.synthetic import synthesise
    from vidgen.observe.bar import bar

    with bar("drawing") as tell:
        synthesise(folder, clips=clips, seed=seed, progress=lambda done: tell("", done, clips))
    click.echo(f"{clips} videos and captions.csv in {folder}")
    click.echo(f"next: vidgen data prepare {folder} {folder}-prepared")


@data.command()
@click.argument("src")
@click.argument("dest")
@set_option("fps=8")
@click.option("--ray", "on_cluster", is_flag=True, help="Run on the Ray cluster of RAY_ADDRESS.")
@endpoint_option
@json_option
def prepare(
    src: str,
    dest: str,
    overrides: tuple[str, ...],
    on_cluster: bool,
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Turn the videos below SRC into a data set at DEST; both are folders or s3://bucket/prefix.

    Captions and labels come from captions.csv at SRC (columns file, caption, label, scene, action,
    objects, split, group), from x.txt or x.json beside x.mp4, or from folder names. What is left
    out is listed with its reason in rejects.jsonl. Run it again after an interruption: it goes on
    where it stopped.
    """
    from vidgen.config.load import load_options
    from vidgen.config.prepare import PrepareOptions
    from vidgen.config.run import StorageConfig

    options = load_options(PrepareOptions, overrides)
    from vidgen.data.prepare import on_this_machine
    from vidgen.data.prepare import prepare as run
    from vidgen.data.show import summary_lines
    from vidgen.observe.bar import bar

    spread = on_this_machine
    if on_cluster:
        from vidgen.engine.prepare_on_ray import on_ray as spread

    with bar("preparing") as tell:
        summary = run(
            src,
            dest,
            options,
            storage=StorageConfig(endpoint_url=endpoint_url),
            progress=lambda state: tell(
                f"{state.clips} clips, {state.rejected} rejected", state.done, state.total
            ),
            spread=spread,
        )
    if as_json:
        click.echo(summary.model_dump_json(indent=2))
        return
    for line in summary_lines(summary):
        click.echo(line)
    click.echo(f"next: vidgen data inspect {dest}")


@data.command()
@click.argument("dataset")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page.")
@endpoint_option
@json_option
def inspect(dataset: str, html: Path | None, endpoint_url: str | None, as_json: bool) -> None:
    """Say what is in a prepared data set: counts, histograms, rejects, and what looks wrong."""
    from vidgen.config.run import StorageConfig
    from vidgen.data.dataset import open_dataset
    from vidgen.data.inspect import glimpses
    from vidgen.data.inspect import inspect as look
    from vidgen.data.show import show_inspection

    storage = StorageConfig(endpoint_url=endpoint_url)
    found = look(dataset, storage)
    if html is not None:
        from vidgen.data.page import page

        seen = glimpses(open_dataset(dataset, storage), 24, storage)
        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(page(found, seen), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        show_inspection(found)
        if html is not None:
            click.echo(f"page: {html}")


@data.command()
@click.argument("source", metavar="RECIPE|FILE")
@click.argument("dest")
@set_option("data.frames=16")
def encode(source: str, dest: str, overrides: tuple[str, ...]) -> None:
    """Write the latents of a run's clips into DEST, so that training need not encode them.

    RECIPE|FILE is the config of a run with model.codec; train it with --set model.codec.cache=DEST.
    """
    from vidgen.config.load import load_run

    config = load_run(source, overrides)
    from vidgen.engine.encode import encode as run
    from vidgen.observe.bar import bar

    with bar("encoding") as tell:
        count = run(config, dest, tell=tell)
    click.echo(f"latents of {count} clips in {dest}")
    click.echo(f"next: vidgen train {source} --set model.codec.cache={dest}")
