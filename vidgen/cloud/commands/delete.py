"""`vidgen-cloud delete`: remove a run's objects from the cluster."""

from __future__ import annotations

import click

from vidgen.cloud.session import Session, run_argument, yes_option
from vidgen.errors import ClusterError


@click.command()
@run_argument
@yes_option
@click.option("--force", is_flag=True, help="Also while it runs; nothing is saved first.")
@click.pass_context
def command(ctx: click.Context, name: str, yes: bool, force: bool) -> int:
    """Remove run NAME from the cluster. Its run folder stays: checkpoints, samples, logs."""
    from vidgen.cloud.cluster import RAYJOBS
    from vidgen.cloud.look import look_at, rayjobs_of
    from vidgen.cloud.state import interpret, note

    cluster = Session.of(ctx).cluster
    jobs = rayjobs_of(cluster, name)
    state = interpret(look_at(cluster, jobs[-1]))
    if not state.settled and not force:
        raise ClusterError(
            f"run '{name}' is not over: {state.text}",
            fix=f"`vidgen-cloud cancel {name}` saves a checkpoint and stops it; --force deletes it "
            "as it is.",
        )
    names = ", ".join(job["metadata"]["name"] for job in jobs)
    if not yes:
        click.confirm(f"Delete RayJob {names} from {cluster.namespace}?", abort=True, err=True)
    for job in jobs:
        cluster.delete(RAYJOBS, job["metadata"]["name"], uid=job["metadata"]["uid"])
    folder = note(jobs[-1], "run-url")
    click.echo(f"Deleted {names}." + (f" The run folder stays: {folder}" if folder else ""))
    return 0
