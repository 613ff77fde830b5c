"""The node's one scrape port: a small process of its own, started by whoever first has metrics.

    python -m vidgen.observe.node_server PORT

It outlives the workers that it speaks for, so a killed one leaves no gap, and takes no time from
training. It ends by itself once nobody has had anything to say for a while.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from vidgen.observe.board import Board
from vidgen.observe.gpu import GpuSampler
from vidgen.observe.metric_table import NODE_PROCESSES
from vidgen.observe.node import read_node
from vidgen.observe.spool import LINGER_ENV, LINGER_S, Spool, merge, try_lock

SERVER_LOCK = "server.lock"
SERVER_ERROR = "server.error"
_SAMPLE_EVERY_S = 5.0
_STALE_AFTER_S = 30.0  # a driver that hangs: old readings are worse than none


class NodeServer:
    """Answers scrapes with the series of all processes and of the node itself."""

    def __init__(self, spool: Spool, linger_s: float = LINGER_S) -> None:
        self._spool, self._linger_s = spool, linger_s
        node = socket.gethostname()
        self._board, self._gpus = Board(node=node), GpuSampler(node)
        self._gpu_text, self._gpu_read = "", 0.0

    def scrape(self) -> str:
        entries = self._spool.entries(self._linger_s)
        self._board.set(NODE_PROCESSES, sum(entry.alive for entry in entries))
        fresh = time.monotonic() - self._gpu_read < _STALE_AFTER_S
        own = [self._board.text(), self._gpu_text if fresh else ""]
        return merge([*own, *(entry.text for entry in entries)])

    def run(self, http: ThreadingHTTPServer) -> None:
        """Serve until nothing has been there to serve for `linger_s`."""
        threading.Thread(target=http.serve_forever, daemon=True).start()
        threading.Thread(target=self._sample_gpus, daemon=True).start()
        wanted = time.monotonic()
        while time.monotonic() - wanted < self._linger_s:
            read_node(self._board)
            if self._spool.entries(self._linger_s):
                wanted = time.monotonic()
            time.sleep(min(_SAMPLE_EVERY_S, self._linger_s / 2))

    def _sample_gpus(self) -> None:
        while True:
            self._gpu_text, self._gpu_read = self._gpus.read(), time.monotonic()
            time.sleep(_SAMPLE_EVERY_S)


def listen(port: int, server: NodeServer) -> ThreadingHTTPServer:
    """Bind the port on all addresses, as scrapes come from other machines. Raises OSError."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path.partition("?")[0] == "/metrics"
            body = server.scrape().encode() if found else b"metrics are at /metrics\n"
            self.send_response(200 if found else 404)
            kind = "version=0.0.4; charset=utf-8" if found else "charset=utf-8"
            self.send_header("Content-Type", f"text/plain; {kind}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Scrapes are no news."""

    return ThreadingHTTPServer(("", port), Handler)


def main(port: int) -> int:
    """Leave the process that started us, then serve; 0 also when another one already does."""
    if os.fork():
        os._exit(0)
    os.setsid()
    spool = Spool(port)
    held = try_lock(spool.folder / SERVER_LOCK)
    if held is None:
        return 0
    server = NodeServer(spool, float(os.environ.get(LINGER_ENV, LINGER_S)))
    error = spool.folder / SERVER_ERROR
    try:
        http = listen(port, server)
    except OSError as problem:
        error.write_text(f"cannot listen on port {port}: {problem.strerror}")
        return 1
    error.unlink(missing_ok=True)
    server.run(http)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
