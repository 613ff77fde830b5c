"""What a process tells Prometheus, and how it gets to the node's scrape port.

VIDGEN_METRICS_PORT says which port; without it nothing is exported and nothing is started. Each
process writes its series into the node's spool every other second; the node's server hands them
out. So there is one port a node, whatever runs there: one training in process, sixteen workers of
Ray, or the trials of a sweep.

    with Exporter(sweep="shapes-asha-1103") as exporter:
        exporter.board.set(SWEEP_TRIALS, 3, state="running")
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import vidgen
from vidgen.observe.board import Board
from vidgen.observe.node_server import SERVER_ERROR, SERVER_LOCK
from vidgen.observe.spool import PORT_ENV, Place, Spool, try_lock

_EVERY_S = 2.0

_log = logging.getLogger(__name__)


def wanted_port() -> int | None:
    """The port that the environment asks for; None, and a warning, if it is no port."""
    given = os.environ.get(PORT_ENV, "")
    if given.isdigit() and 0 < int(given) < 65536:
        return int(given)
    if given:
        _log.warning("no metrics are exported: %s=%s is no port", PORT_ENV, given)
    return None


class Exporter:
    """The series of one process, on the node's port while it is open.

    Exporting never stops a training: what goes wrong is logged once.

    Args:
        port: of the node; None: nothing leaves this process.
        refresh: called before the series are written, to set what is cheaper to ask for than to
            follow.
        own: labels that name the process: run and rank, or sweep.
    """

    def __init__(
        self,
        *,
        port: int | None = None,
        refresh: Callable[[Board], None] = lambda board: None,
        **own: str,
    ) -> None:
        self.board = Board(**own)
        self._port = wanted_port() if port is None else port
        self._own, self._refresh = own, refresh
        self._told = False
        self._ending = threading.Event()
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Exporter:
        if self._port is not None:
            self._thread = threading.Thread(target=self._work, name="exporter", daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _work(self) -> None:
        assert self._port is not None
        try:
            spool = Spool(self._port)
            place = Place(spool, self._own)
        except OSError as error:
            self._tell(f"no metrics are exported: {error}")
            return
        last = False
        while not last:
            last = self._ending.is_set()
            try:
                self._refresh(self.board)
                place.write(self.board.text())
                self._keep_serving(spool)
            except OSError as error:  # the disk is full: the next one may find room
                self._tell(f"metrics are not exported for now: {error}")
            if not last:
                self._ending.wait(_EVERY_S)
        place.leave()

    def _keep_serving(self, spool: Spool) -> None:
        """Start the node's server if none runs: the first process does, or one after it died."""
        held = try_lock(spool.folder / SERVER_LOCK)
        if held is None:
            return
        held.close()
        error = spool.folder / SERVER_ERROR
        if error.exists():
            self._tell(f"no metrics are exported: {error.read_text()}")
        # It leaves this process at once: Ray ends a worker's children with the worker.
        root = str(Path(vidgen.__file__).parent.parent)
        paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
        subprocess.run(
            [sys.executable, "-m", "vidgen.observe.node_server", str(spool.port)],
            env={**os.environ, "PYTHONPATH": paths},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
        )

    def _tell(self, text: str) -> None:
        if not self._told:
            _log.warning("%s", text)
            self._told = True
