"""`vidgen-cloud cancel`: save, stop, and confirm."""

from __future__ import annotations

import click

from vidgen.cloud.session import Session, run_argument


@click.command()
@run_argument
@click.option("--now", is_flag=True, help="Take the pods away at once, checkpoint or not.")
@click.pass_context
def command(ctx: click.Context, name: str, now: bool) -> int:
    """Stop run NAME: it writes a checkpoint first, and `resume` goes on from there.

    Returns when its pods are gone, that is, when its GPUs are free.
    """
    from vidgen.cloud.stopping import cancel

    session = Session.of(ctx)
    state = cancel(session.cluster, name, now=now, say=lambda line: click.echo(line, err=True))
    click.echo(f"{name}: {state.text}")
    return 0
