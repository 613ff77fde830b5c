"""`vidgen-cloud resume`: the same run folder, the last checkpoint, another RayJob."""

from __future__ import annotations

import click

from vidgen.cloud.session import Session, platform_option, run_argument
from vidgen.errors import ClusterError


@click.command()
@run_argument
@click.option("--pool", metavar="NAME", help="Another pool than before.")
@click.option("--workers", type=click.IntRange(min=1), help="Another number of workers.")
@click.option("--wait/--detach", default=False, help="Follow the run until it ends.")
@platform_option
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    pool: str | None,
    workers: int | None,
    wait: bool,
    platform_file: str | None,
) -> int:
    """Go on with run NAME from its last checkpoint, on the same or another pool."""
    from vidgen.cloud.create import create_once
    from vidgen.cloud.follow import follow
    from vidgen.cloud.look import look
    from vidgen.cloud.plan import replanned
    from vidgen.cloud.rayjob import job_of, render
    from vidgen.cloud.state import interpret
    from vidgen.cloud.stopping import unsuspend, wait_until

    session = Session.of(ctx, platform_file)
    cluster = session.cluster
    snapshot = look(cluster, name)
    state = interpret(snapshot)
    if state.phase == "succeeded":
        raise ClusterError(f"run '{name}' has finished all its steps", fix="Submit a longer run.")
    if not state.settled:
        raise ClusterError(
            f"run '{name}' has not stopped: {state.text}",
            fix=f"`vidgen-cloud cancel {name}` saves a checkpoint and stops it.",
        )
    suspended = bool(snapshot.rayjob["spec"].get("suspend"))
    if suspended and pool is None and workers is None:
        unsuspend(cluster, snapshot)
        click.echo(f"{name} goes on.", err=True)
        return follow(session, name) if wait else 0

    old = job_of(snapshot.rayjob)
    job = replanned(old.resumed(old.attempt + 1, pool=pool, workers=workers), session.platform)
    manifest = render(job, session.platform, session.namespace)
    if state.holds_pods:
        # A run that failed at its deadline trains on until its pods are gone: never two writers.
        click.echo("Waiting for the last attempt's pods to leave ...", err=True)
        wait_until(
            cluster, snapshot, lambda s: not s.holds_pods, lambda line: click.echo(line, err=True)
        )
    _, new = create_once(cluster, manifest)
    if suspended:
        # Only once the new one is there: a resume killed in between loses nothing.
        from vidgen.cloud.cluster import RAYJOBS

        meta = snapshot.rayjob["metadata"]
        cluster.delete(RAYJOBS, meta["name"], uid=meta["uid"])
    click.echo(
        f"{name} goes on as RayJob {job.rayjob}: {job.workers} workers on {job.pool}."
        if new
        else f"{name} was already resumed as RayJob {job.rayjob}.",
        err=True,
    )
    return follow(session, name) if wait else 0
