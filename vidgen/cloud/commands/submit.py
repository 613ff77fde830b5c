"""`vidgen-cloud submit`: check here, show the plan, send the code, create one RayJob."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import click

from vidgen.cloud.session import Session, platform_option
from vidgen.cloud.structured import output_option, print_value
from vidgen.options import set_option


@click.command()
@click.argument("source", metavar="RECIPE|FILE", required=False)
@set_option("train.steps=100, or with --tune budget.trials=4")
@click.option("--tune", metavar="FILE", help="Run a sweep instead of one training.")
@click.option("--pool", metavar="NAME", help="Where to run; default: the platform's.")
@click.option("--workers", type=click.IntRange(min=1), help="Ranks; default: one node of the pool.")
@click.option("--name", help="Run name; the same name and config again is the same run.")
@click.option("--working-dir", metavar="DIR", help="Send this directory's code along.")
@click.option("--dry-run", is_flag=True, help="Send nothing; -o yaml shows what would be sent.")
@output_option
@click.option("--wait/--detach", default=False, help="Follow the run until it ends.")
@platform_option
@click.pass_context
def command(
    ctx: click.Context,
    source: str | None,
    overrides: tuple[str, ...],
    tune: str | None,
    pool: str | None,
    workers: int | None,
    name: str | None,
    working_dir: str | None,
    dry_run: bool,
    output: str,
    wait: bool,
    platform_file: str | None,
) -> int:
    """Start a run: RECIPE is a packaged recipe, FILE a YAML config.

    Submitting the same name and config again finds the run that is there. A run folder that already
    has checkpoints is gone on with.
    """
    from vidgen.cloud.archive import pack
    from vidgen.cloud.plan import describe, plan_train, plan_tune
    from vidgen.cloud.rayjob import render

    if (source is None) == (tune is None):
        raise click.UsageError("Give a recipe or a config file, or --tune FILE.")
    session = Session.of(ctx, platform_file)
    platform = session.platform
    now = datetime.now(timezone.utc)
    if tune is not None:
        job = plan_tune(tune, overrides, platform, pool=pool, workers=workers, name=name, now=now)
    else:
        assert source is not None
        job = plan_train(
            source, overrides, platform, pool=pool, workers=workers, name=name, now=now
        )
    archive = pack(Path(working_dir)) if working_dir is not None else None
    if archive is not None:
        job = replace(job, code_url=f"{platform.object_store.url}/{archive.key}")
    manifest = render(job, platform, session.namespace)

    if output != "text":
        print_value(manifest, output)
    else:
        for what, value in describe(job, platform, manifest):
            click.echo(f"{what:<11} {value}")
        if archive is not None:
            biggest = ", ".join(f"{path} {size / 1e3:.0f} kB" for path, size in archive.largest)
            click.echo(
                f"{'':<11} {archive.files} files, {archive.unpacked / 1e6:.1f} MB, packed "
                f"{len(archive.data) / 1e6:.1f} MB; largest: {biggest}"
            )
            for link in archive.left_out:
                click.echo(f"{'':<11} left out: {link} leads out of {working_dir}")
    if dry_run:
        click.echo("Dry run: nothing was sent.", err=True)
        return 0

    from vidgen.cloud.create import submit_once

    if archive is not None:
        from vidgen.storage.open import open_store

        # First the code, then the job: a submit that dies in between leaves an unused archive.
        sent = archive.upload(open_store(platform.object_store.url, session.storage))
        click.echo("Code sent." if sent else "Code was there already.", err=True)
    if submit_once(session.cluster, job.name, manifest):
        click.echo(f"Submitted {job.name}.", err=True)
    else:
        click.echo(_already(session, job.name), err=True)
    if wait:
        from vidgen.cloud.follow import follow

        return follow(session, job.name)
    click.echo(
        f"Follow it: vidgen-cloud status {job.name} --watch, vidgen-cloud logs {job.name} -f",
        err=True,
    )
    return 0


def _already(session: Session, run: str) -> str:
    """The same run is there: what it does, lest a second submit is taken for a second start."""
    from vidgen.cloud.look import look
    from vidgen.cloud.state import interpret

    state = interpret(look(session.cluster, run))
    text = f"{run} was already submitted; it is the same run: {state.text}."
    if state.settled and state.phase != "succeeded":
        text += f" Go on with it: vidgen-cloud resume {run}"
    return text
