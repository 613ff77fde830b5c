"""Follow a run until there is nothing to wait for, through lost watches and API servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import click

from vidgen.cloud.state import Snapshot, State, interpret
from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster
    from vidgen.cloud.session import Session

_AT_LEAST_EVERY_S = 5  # pods and events change without the RayJob
_PATIENCE_S = 300.0  # how long a cluster may be out of reach before following ends


def states(cluster: Cluster, run: str) -> Iterator[tuple[Snapshot, State]]:
    """A run's state now and at each change, at least every few seconds; ends when it is settled.

    Raises ClusterError when the run does not exist or the cluster stays out of reach.
    """
    from vidgen.cloud.cluster import RAYJOBS
    from vidgen.cloud.look import look
    from vidgen.cloud.refusals import BadCredentials, Forbidden, NotFound

    lost_since: float | None = None
    while True:
        try:
            snapshot = look(cluster, run)
            lost_since = None
        except (NotFound, Forbidden, BadCredentials):
            raise
        except ClusterError as error:
            now = time.monotonic()
            lost_since = lost_since or now
            if now - lost_since > _PATIENCE_S:
                raise
            click.echo(f"Waiting for the cluster: {error.what}", err=True)
            time.sleep(_AT_LEAST_EVERY_S)
            continue
        state = interpret(snapshot)
        yield snapshot, state
        if state.settled:
            return
        meta = snapshot.rayjob["metadata"]
        cluster.wait_for_change(
            RAYJOBS, meta["name"], meta.get("resourceVersion", ""), _AT_LEAST_EVERY_S
        )


def follow(session: Session, run: str, show: Callable[[str], None] | None = None) -> int:
    """Print a line at each change of state until the run ends; returns its exit code."""
    say = show or (lambda line: click.echo(line))
    shown: tuple[str, list[str]] | None = None
    code = 0
    for _, state in states(session.cluster, run):
        now = (state.text, state.reasons)
        if now != shown:
            shown = now
            stamp = time.strftime("%H:%M:%S")
            say(f"{stamp} {state.text}")
            for reason in state.reasons:
                say(f"{'':>8} {reason}")
        code = state.outcome_code
    return code
