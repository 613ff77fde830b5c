"""`vidgen evaluate`, `bench` and `report`: what a run is worth, and how it is shown."""

from __future__ import annotations

import json

import click

from vidgen.options import endpoint_option, guidance_option, json_option, step_option


@click.command()
@click.argument("run", metavar="RUN")
@click.option(
    "--against", metavar="RUN|DATASET", help="An evaluated run to compare with, or other clips."
)
@click.option("--extractor", "extractors", metavar="NAME", multiple=True, help="May be repeated.")
@click.option("--weights", metavar="NAME=PATH", multiple=True, help="An extractor's weights file.")
@click.option("--download", is_flag=True, help="Fetch an extractor's published weights.")
@click.option("--clips", type=click.IntRange(min=1), help="Held-out clips, at most.")
@click.option(
    "--seed",
    "seeds",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="S",
    help="Seed of the noise; default: 0. May be repeated.",
)
@guidance_option
@click.option(
    "--step",
    "steps",
    type=click.IntRange(min=0),
    multiple=True,
    metavar="K",
    help="Checkpoint; default: newest. May be repeated.",
)
@endpoint_option
@json_option
def evaluate(
    run: str,
    against: str | None,
    extractors: tuple[str, ...],
    weights: tuple[str, ...],
    download: bool,
    clips: int | None,
    seeds: tuple[int, ...],
    guidance: float | None,
    steps: tuple[int, ...],
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Score a run on held-out clips; scores carry their protocol.

    With several steps or seeds it does so for each; the report shows scores over steps and their
    spread over seeds. The newest step with the first seed comes last and is what is shown here.

    --against RUN compares with another run that was evaluated in the same way, clip by clip;
    --against DATASET takes the held-out clips from another prepared data set.
    """
    from rich.console import Console

    from vidgen.config.run import StorageConfig
    from vidgen.engine.compare import open_against
    from vidgen.engine.evaluate import cases
    from vidgen.engine.evaluate import evaluate as start
    from vidgen.engine.score_table import print_comparison, print_evaluation
    from vidgen.observe.bar import bar

    storage = StorageConfig(endpoint_url=endpoint_url)
    other = open_against(against, storage) if against else None
    for step, seed in cases(steps, seeds):
        with bar("evaluating") as tell:
            found = start(
                run,
                clips=clips,
                seed=seed,
                guidance=guidance,
                step=step,
                storage=storage,
                data=other.dataset if other else None,
                extractors=extractors,
                weights=dict(_assignment("--weights", each) for each in weights),
                download=download,
                tell=tell,
            )
    compared = other.compare(found, run) if other else []
    if as_json:
        shown = found.to_json()
        if compared:
            shown["against"] = [each.to_json() for each in compared]
        click.echo(json.dumps(shown, indent=2))
        return
    print_evaluation(found, Console())
    if compared:
        print_comparison(compared, Console())
    click.echo(f"next: vidgen report {run}")


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--batch", type=click.IntRange(min=1), multiple=True, help="May be repeated.")
@click.option("--steps", type=click.IntRange(min=1), multiple=True, help="Of sampling; repeats.")
@click.option("--calls", type=click.IntRange(min=1), default=10, show_default=True)
@guidance_option
@step_option
@endpoint_option
@json_option
def bench(
    run: str,
    batch: tuple[int, ...],
    steps: tuple[int, ...],
    calls: int,
    guidance: float | None,
    step: int | None,
    endpoint_url: str | None,
    as_json: bool,
) -> None:
    """Time a run's model: latency, frames per second, memory, and whether it is real time."""
    from rich.console import Console

    from vidgen.config.run import StorageConfig
    from vidgen.engine.bench import bench as start
    from vidgen.engine.bench_table import print_bench
    from vidgen.observe.bar import bar

    with bar("timing") as tell:
        found = start(
            run,
            batches=batch,
            steps=steps,
            calls=calls,
            guidance=guidance,
            step=step,
            storage=StorageConfig(endpoint_url=endpoint_url),
            tell=tell,
        )
    if as_json:
        click.echo(json.dumps(found.to_json(), indent=2))
        return
    print_bench(found, Console())


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True)
@click.option(
    "--out", metavar="FILE", help="Where the page of several goes; default: comparison.html."
)
@endpoint_option
def report(runs: tuple[str, ...], out: str | None, endpoint_url: str | None) -> None:
    """Put a run on one page: curves, videos, scores, speed, config. Several runs: side by side.

    The page of one run goes into its folder.
    """
    from vidgen.config.run import StorageConfig
    from vidgen.engine.report import write_report
    from vidgen.engine.report_runs import write_comparison

    storage = StorageConfig(endpoint_url=endpoint_url)
    if len(runs) > 1:
        click.echo(write_comparison(runs, out or "comparison.html", storage))
        return
    if out is not None:
        raise click.UsageError("--out goes with several runs; the page of one is in its folder.")
    click.echo(write_report(runs[0], storage))


def _assignment(option: str, text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name or not value:
        raise click.UsageError(f"{option} {text!r} is not NAME=PATH.")
    return name, value
