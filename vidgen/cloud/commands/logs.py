"""`vidgen-cloud logs`: a run's output, live and afterwards."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import click

from vidgen.cloud.session import Session, platform_option, run_argument
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.ranks import RankFilter

_LAST_WORDS_S = 5.0


@click.command()
@run_argument
@click.option("-f", "--follow", "following", is_flag=True, help="Go on until the run ends.")
@click.option("--rank", type=click.IntRange(min=0), help="Only the lines of one worker.")
@click.option("--previous", is_flag=True, help="Of the start before: a crashed pod, a lost head.")
@platform_option
@click.pass_context
def command(
    ctx: click.Context,
    name: str,
    following: bool,
    rank: int | None,
    previous: bool,
    platform_file: str | None,
) -> int:
    """Show the output of run NAME.

    It is read from the run folder, where a running program's output arrives every few seconds and
    stays after the cluster is gone; from Ray's head where the folder is out of reach.
    """
    from vidgen.cloud.output import previous_output
    from vidgen.cloud.ranks import RankFilter

    session = Session.of(ctx, platform_file)
    only = RankFilter(rank) if rank is not None else None
    if previous:
        for text in previous_output(session, name):
            _write(text, only)
        return 0
    return _follow(session, name, only) if following else _now(session, name, only)


def _now(session: Session, name: str, only: RankFilter | None) -> int:
    """What there is at the moment. The RayJob may be gone; then the run folder has everything."""
    from vidgen.cloud.look import look
    from vidgen.cloud.output import OutputReader
    from vidgen.cloud.refusals import NotFound
    from vidgen.cloud.state import interpret

    reader = OutputReader(session, name)
    try:
        snapshot = look(session.cluster, name)
    except NotFound:
        snapshot = None
    text = reader.news(snapshot, last=True)
    if not text and snapshot is not None:
        # Nothing was shipped and no head answers: KubeRay keeps the last lines of a failed program.
        text = str((snapshot.rayjob.get("status") or {}).get("message") or "")
        state = interpret(snapshot)
        if not text or state.phase in ("running", "starting"):
            raise ClusterError(f"run '{name}' has no output yet: {state.text}")
        text += "\n"
    _write(text, only)
    return 0


def _follow(session: Session, name: str, only: RankFilter | None) -> int:
    """Everything so far and what comes, until the run ends; returns its exit code."""
    from vidgen.cloud.follow import states
    from vidgen.cloud.output import OutputReader
    from vidgen.cloud.refusals import NotFound

    reader = OutputReader(session, name)
    said, code = "", 0
    try:
        for snapshot, state in states(session.cluster, name):
            _write(reader.news(snapshot), only)
            if state.text != said and state.phase != "running":
                click.echo(f"[{state.text}]", err=True)
            said, code = state.text, state.outcome_code
    except NotFound:
        # Deleted before or meanwhile: no state is left to tell, but all that was shipped is.
        click.echo(f"[{name} is not on the cluster any more]", err=True)
        if said:
            code = 1
            wait_for_last_words()
    _write(reader.news(None, last=True), only)  # what was shipped after the last look
    return code


def wait_for_last_words() -> None:
    """A deleted run's program is stopped, and what it says then is shipped a moment later."""
    time.sleep(_LAST_WORDS_S)


def _write(text: str, only: RankFilter | None) -> None:
    if only is not None:
        kept = (only.keep(line) for line in text.splitlines(keepends=True))
        text = "".join(line for line in kept if line is not None)
    sys.stdout.write(text)
    sys.stdout.flush()
