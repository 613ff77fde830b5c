"""A local port that leads to a port of a pod, whichever pod answers at the moment."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from vidgen.errors import ClusterError

if TYPE_CHECKING:
    from vidgen.cloud.cluster import Cluster

_PATIENCE_S = 30.0  # how long a connection waits for a pod to be replaced


class Tunnel:
    """Listens on 127.0.0.1 until closed. Each connection looks for the pod anew, so a tunnel lives
    longer than the pods behind it."""

    def __init__(
        self, cluster: Cluster, find_pod: Callable[[], str], port: int, local_port: int = 0
    ) -> None:
        self._cluster, self._find_pod, self._port = cluster, find_pod, port
        self._listener = socket.create_server(("127.0.0.1", local_port))
        self.local_port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.local_port}"
        self.last_error: str | None = None
        threading.Thread(target=self._accept, daemon=True, name=f"tunnel {port}").start()

    def __enter__(self) -> Tunnel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        try:
            far = self._reach()
        except ClusterError as error:
            self.last_error = str(error)
            near.close()
            return
        back = threading.Thread(target=_pump, args=(far, near), daemon=True)
        back.start()
        _pump(near, far)
        back.join()
        far.close()
        near.close()

    def _reach(self) -> Any:
        deadline = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return self._cluster.open_port(self._find_pod(), self._port)
            except ClusterError as error:
                from vidgen.cloud.refusals import Forbidden

                if isinstance(error, Forbidden) or time.monotonic() > deadline:
                    raise
                time.sleep(1)


def ready_pod(cluster: Cluster, labels: str) -> str:
    """Name of a pod that is Ready and not leaving. Raises ClusterError."""
    from vidgen.cloud.cluster import PODS

    for pod in cluster.list(PODS, labels=labels):
        conditions = pod.get("status", {}).get("conditions") or []
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if ready and "deletionTimestamp" not in pod["metadata"]:
            return str(pod["metadata"]["name"])
    raise ClusterError(
        f"no ready pod with labels {labels} in namespace {cluster.namespace}",
        fix="It may be starting or gone: see `vidgen-cloud status`.",
    )


def _pump(source: Any, sink: Any) -> None:
    """Copy until the source ends, then say so to the sink."""
    with suppress(OSError):
        while data := source.recv(2**16):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
