"""A run's output as it grows: from the run folder, or from Ray's head if that is out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from vidgen.cloud.shipper import Position, read_shipped
from vidgen.errors import ClusterError, StorageError, VidgenError

if TYPE_CHECKING:
    from vidgen.cloud.session import Session
    from vidgen.cloud.state import Snapshot
    from vidgen.storage.base import Store


class OutputReader:
    """Reads what was not read before, by offset: broken connections and replaced heads lose and
    repeat nothing."""

    def __init__(self, session: Session, name: str) -> None:
        self._session = session
        self._position = Position()
        self._head, self._seen = "", 0  # (head pod, characters of its output)
        self._rest = b""
        try:
            self._folder: Store | None = run_folder(session, name)
        except StorageError as error:
            self._folder = None
            click.echo(f"The run folder cannot be read from here: {error.what}", err=True)

    def news(self, snapshot: Snapshot | None, *, last: bool = False) -> str:
        """Whole lines since the call before; `last`: also a line that has no end."""
        try:
            if self._folder is not None:
                self._rest += b"".join(self._shipped(self._folder))
            elif snapshot is not None:
                self._rest += self._live(snapshot).encode()
        except VidgenError as error:
            click.echo(f"[{error.what}]", err=True)  # the next call goes on at the same place
        end = len(self._rest) if last else self._rest.rfind(b"\n") + 1
        text, self._rest = self._rest[:end], self._rest[end:]
        return text.decode("utf-8", errors="replace")

    def _shipped(self, folder: Store) -> Iterator[bytes]:
        for position, data in read_shipped(folder, self._position):
            self._position = position
            yield data

    def _live(self, snapshot: Snapshot) -> str:
        from vidgen.cloud.ray_jobs import RayJobs, head_pod

        try:
            pod = head_pod(snapshot)
        except ClusterError:
            return ""
        output = RayJobs(self._session.cluster, snapshot).output()
        before = self._seen if self._head == pod else 0
        self._head, self._seen = pod, len(output)
        return output[before:]


def run_folder(session: Session, name: str) -> Store:
    """The store of a run. Raises StorageError: out of reach; ClusterError: no such run."""
    from vidgen.cloud.run_url import run_url
    from vidgen.storage.open import open_store

    store = open_store(run_url(session, name), session.storage)
    next(iter(store.list("logs/")), None)  # fails here rather than in the middle
    return store


def previous_output(session: Session, name: str) -> Iterator[str]:
    """Logs of containers before their last restart, else of the start before the newest one."""
    from vidgen.cloud.look import look

    found = False
    for pod in look(session.cluster, name).pods:
        for container in (pod.get("status") or {}).get("containerStatuses") or []:
            if container.get("restartCount"):
                found = True
                pod_name = pod["metadata"]["name"]
                yield f"==> {pod_name}, before restart {container['restartCount']}\n"
                yield session.cluster.pod_log(pod_name, container["name"], previous=True)
    if found:
        return
    starts: dict[str, bytes] = {}
    for position, data in read_shipped(run_folder(session, name)):
        starts[position.start] = starts.get(position.start, b"") + data
    if len(starts) < 2:
        raise ClusterError(f"run '{name}' was started once, and no pod of it restarted")
    yield starts[sorted(starts)[-2]].decode("utf-8", errors="replace")
