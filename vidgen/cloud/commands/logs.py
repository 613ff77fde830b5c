"""`vidgen-cloud logs`: a run's output, live and afterwards."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vidgen.cloud.session import Session, platform_option
from vidgen.errors import ClusterError, StorageError, VidgenError

if TYPE_CHECKING:
    from vidgen.cloud.state import Snapshot
    from vidgen.storage.base import Store


@click.command()
@click.argument("name")
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
    from vidgen.cloud.ranks import RankFilter

    session = Session.of(ctx, platform_file)
    only = RankFilter(rank) if rank is not None else None
    if previous:
        _write(_previous(session, name), only)
        return 0
    if following:
        return _follow(session, name, only)
    _write(_now(session, name), only)
    return 0


def _store(session: Session, name: str) -> Store:
    """The run folder. Raises VidgenError when it is out of reach."""
    from vidgen.cloud.run_url import run_url
    from vidgen.storage.open import open_store

    store = open_store(run_url(session, name), session.storage)
    next(iter(store.list("logs/")), None)  # fails here rather than in the middle
    return store


def _now(session: Session, name: str) -> Iterator[str]:
    """What there is at the moment."""
    from vidgen.cloud.look import look
    from vidgen.cloud.ray_jobs import RayJobs
    from vidgen.cloud.shipper import read_shipped
    from vidgen.cloud.state import interpret

    try:
        pieces = [data for _, data in read_shipped(_store(session, name))]
    except StorageError as error:
        pieces = []
        click.echo(f"The run folder cannot be read from here: {error.what}", err=True)
    if pieces:
        yield b"".join(pieces).decode("utf-8", errors="replace")
        return
    snapshot = look(session.cluster, name)
    try:
        yield RayJobs(session.cluster, snapshot).output()
    except (ClusterError, KeyError):
        # No head: what KubeRay kept of the program's last lines is all there is.
        state = interpret(snapshot)
        message = str((snapshot.rayjob.get("status") or {}).get("message") or "")
        if not message:
            raise ClusterError(f"run '{name}' has no output yet: {state.text}") from None
        yield message + "\n"


def _follow(session: Session, name: str, only: object) -> int:
    """Everything so far and what comes, by offset, until the run ends."""
    from vidgen.cloud.follow import states
    from vidgen.cloud.ranks import RankFilter

    assert only is None or isinstance(only, RankFilter)
    reader = _Reader(session, name)
    said, code = "", 0
    for snapshot, state in states(session.cluster, name):
        text = reader.news(snapshot)
        if text:
            _write(iter([text]), only)
        elif state.text != said and state.phase != "running":
            click.echo(f"[{state.text}]", err=True)
        said, code = state.text, state.outcome_code
    _write(iter([reader.news(None)]), only)  # shipped after the last look
    return code


class _Reader:
    """Output that was not read before: from the run folder, or from Ray's head without one."""

    def __init__(self, session: Session, name: str) -> None:
        from vidgen.cloud.shipper import Position

        self._session = session
        self._position = Position()
        self._seen: tuple[str, int] = ("", 0)  # (head pod, characters)
        self._rest = b""
        try:
            self._folder: Store | None = _store(session, name)
        except VidgenError as error:
            self._folder = None
            click.echo(f"The run folder cannot be read from here: {error.what}", err=True)

    def news(self, snapshot: Snapshot | None) -> str:
        try:
            return self._shipped() if self._folder is not None else self._live(snapshot)
        except VidgenError as error:
            click.echo(f"[{error.what}]", err=True)
            return ""  # the next look goes on at the same place

    def _shipped(self) -> str:
        from vidgen.cloud.shipper import read_shipped

        assert self._folder is not None
        data = self._rest
        for self._position, piece in read_shipped(self._folder, self._position):  # noqa: B020
            data += piece
        # A chunk may end inside a character.
        text = data.decode("utf-8", errors="ignore") if data else ""
        self._rest = b"" if text.encode() == data else data[len(text.encode()) :]
        return text

    def _live(self, snapshot: Snapshot | None) -> str:
        from vidgen.cloud.ray_jobs import RayJobs, head_pod

        if snapshot is None:
            return ""
        try:
            pod = head_pod(snapshot)
        except ClusterError:
            return ""
        output = RayJobs(self._session.cluster, snapshot).output()
        before = self._seen[1] if self._seen[0] == pod else 0
        self._seen = (pod, len(output))
        return output[before:]


def _previous(session: Session, name: str) -> Iterator[str]:
    """Logs of containers before their last restart, else the start before the newest one."""
    from vidgen.cloud.look import look
    from vidgen.cloud.shipper import read_shipped

    found = False
    for pod in look(session.cluster, name).pods:
        status = pod.get("status") or {}
        for container in status.get("containerStatuses") or []:
            if container.get("restartCount"):
                found = True
                title = f"{pod['metadata']['name']} {container['name']}"
                yield f"==> {title}, before restart {container['restartCount']}\n"
                yield session.cluster.pod_log(
                    pod["metadata"]["name"], container["name"], previous=True
                )
    if found:
        return
    starts: dict[str, bytes] = {}
    for position, data in read_shipped(_store(session, name)):
        starts[position.start] = starts.get(position.start, b"") + data
    if len(starts) < 2:
        raise ClusterError(f"run '{name}' was started once and no pod of it restarted")
    yield starts[sorted(starts)[-2]].decode("utf-8", errors="replace")


def _write(texts: Iterator[str], only: object) -> None:
    from vidgen.cloud.ranks import RankFilter

    for text in texts:
        if isinstance(only, RankFilter):
            kept = [only.keep(line) for line in text.splitlines(keepends=True)]
            text = "".join(line for line in kept if line is not None)
        sys.stdout.write(text)
        sys.stdout.flush()
