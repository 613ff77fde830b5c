"""`vidgen study`: ask people. Needs no engine: create and score studies on any laptop."""

from __future__ import annotations

import json
from pathlib import Path

import click

from vidgen.options import endpoint_option, json_option

_file = click.Path(dir_okay=False, path_type=Path)


@click.group()
def study() -> None:
    """Ask people which videos are better: make a page, score their answers."""


@study.command()
@click.argument("sources", metavar="SOURCE...", nargs=-1, required=True)
@click.option("--out", default="study", show_default=True, metavar="DIR", help="Folder or s3://.")
@click.option("--real", is_flag=True, help="Add the real clips of the first evaluated run.")
@click.option("--pairs", type=click.IntRange(min=0), default=12, show_default=True)
@click.option("--marks", type=click.IntRange(min=0), default=8, show_default=True)
@click.option("--checks", type=click.IntRange(min=0), default=3, show_default=True)
@click.option("--repeats", type=click.IntRange(min=0), default=2, show_default=True)
@click.option("--title", default="Which video is better?", show_default=True)
@click.option("--post", metavar="URL", help="Also send answers there, as JSON.")
@click.option("--seed", type=int, default=0, help="Seed of the choice of videos.")
@endpoint_option
@json_option
def create(
    sources: tuple[str, ...],
    out: str,
    real: bool,
    pairs: int,
    marks: int,
    checks: int,
    repeats: int,
    title: str,
    post: str | None,
    seed: int,
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Write a page on which people compare the videos of two or more SOURCEs.

    A SOURCE is an evaluated run, a folder `vidgen generate` made, or any folder of MP4 or WebM
    files; NAME=SOURCE names it in the results. The page is one file that works from a disk, a web
    server or a bucket; videos on it carry no names. Keep key.json to yourself until all answers
    are in.
    """
    from vidgen.config.run import StorageConfig
    from vidgen.study.create import Plan
    from vidgen.study.create import create as start

    made = start(
        list(sources),
        out,
        plan=Plan(pairs=pairs, marks=marks, checks=checks, repeats=repeats),
        real=real,
        title=title,
        post=post,
        seed=seed,
        storage=StorageConfig(endpoint_url=endpoint_url),
    )
    if as_json:
        shown = {"page": made.page, "key": made.key, "size": made.size, "screens": made.screens}
        click.echo(json.dumps({**shown, "notes": made.notes}, indent=2))
        return
    for note in made.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"for raters: {made.page}  ({made.screens} screens, {made.size / 1e6:.1f} MB)")
    click.echo(f"keep:       {made.key}")
    click.echo(f"then:       vidgen study score ANSWERS.json... --key {made.key}")


@study.command()
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=_file)
@click.option("--key", type=_file, help="The study's key.json; default: beside the answers.")
@click.option(
    "--allow-failed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Attention checks a rater may fail.",
)
@json_option
def score(files: tuple[Path, ...], key: Path | None, allow_failed: int, as_json: bool) -> None:
    """Turn raters' answers into win rates, a ranking, opinion scores and agreement.

    Raters who fail attention checks are left out, and named.
    """
    from vidgen.study.score import score as start

    result = start(files, key=key, allow_failed=allow_failed)
    if as_json:
        click.echo(json.dumps(result.to_json(), indent=2))
        return
    from rich.console import Console

    from vidgen.study.show import print_result

    print_result(result, Console())
