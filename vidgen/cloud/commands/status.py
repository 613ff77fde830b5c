"""`vidgen-cloud status`: one run, whole."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import click

from vidgen.cloud.session import Session, platform_option, run_argument
from vidgen.cloud.structured import output_option, print_value


@click.command()
@run_argument
@click.option("-w", "--watch", is_flag=True, help="Follow until the run ends.")
@output_option
@platform_option
@click.pass_context
def command(
    ctx: click.Context, name: str, watch: bool, output: str, platform_file: str | None
) -> int:
    """Show run NAME: its true state, why it waits, progress, cost.

    Exit code: 1 if the run failed; with --watch 130 if it was cancelled or paused.
    """
    from vidgen.cloud.follow import follow
    from vidgen.cloud.look import look
    from vidgen.cloud.state import interpret
    from vidgen.cloud.summary import lines

    session = Session.of(ctx, platform_file)
    code = None
    if watch:
        # For programs: one object on stdout, the way there on stderr.
        code = follow(session, name, lambda line: click.echo(line, err=output != "text"))
    snapshot = look(session.cluster, name)
    state = interpret(snapshot)
    values = _values(session, snapshot, state)
    if output != "text":
        print_value(values, output)
    else:
        for what, value in lines(values):
            click.echo(f"{what:<10} {value}")
    return state.exit_code if code is None else code


def _values(session: Session, snapshot: Any, state: Any) -> dict[str, Any]:
    from vidgen.cloud.progress import sweep_progress, try_progress
    from vidgen.cloud.state import note
    from vidgen.cloud.summary import summary
    from vidgen.errors import VidgenError

    url, progress, missing = (
        note(snapshot.rayjob, "run-url"),
        None,
        "the RayJob names no run folder",
    )
    if url:
        try:
            from vidgen.storage.open import open_store

            store = open_store(url, session.storage)
            if note(snapshot.rayjob, "command") == "tune":
                missing = sweep_progress(store)
            else:
                progress, missing = try_progress(store, int(note(snapshot.rayjob, "steps", "0")))
        except VidgenError as error:  # no platform, no store: the state itself is still known
            missing = f"cannot be read from here: {error}"
    return summary(snapshot, state, datetime.now(timezone.utc), progress, missing)
