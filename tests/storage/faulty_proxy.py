"""An HTTP proxy in front of an S3 server that spoils some requests."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

# What may happen to a request: "ok", "500", "503", "429", "reset", "short" (half the body, then
# the end) or "hang" (no answer).
Fault = Callable[[int, str, str], str]  # (number of the request, method, path) -> one of those


@contextmanager
def faulty_proxy(endpoint: str, fault: Fault) -> Iterator[tuple[str, list[str]]]:
    """(url of the proxy, what happened to each request so far)."""
    target = urlsplit(endpoint)
    log: list[str] = []
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            with lock:
                what = fault(len(log), self.command, self.path)
                log.append(what)
            body = self._body()
            if what == "reset":
                linger = struct.pack("ii", 1, 0)  # close with RST
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.connection.close()
                return
            if what == "hang":
                stop.wait(20)
                self.close_connection = True
                return
            if what in ("500", "503", "429"):
                self._answer(int(what), {}, b"")
                return
            upstream = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
            upstream.request(self.command, self.path, body=body, headers=dict(self.headers))
            answer = upstream.getresponse()
            data = answer.read()
            upstream.close()
            self._answer(answer.status, dict(answer.headers), data, cut=what == "short")

        do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _any

        def _body(self) -> bytes:
            if self.headers.get("Expect") == "100-continue":
                del self.headers["Expect"]
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))

        def _answer(
            self, status: int, headers: dict[str, str], data: bytes, *, cut: bool = False
        ) -> None:
            self.send_response(status)
            length = headers.get("Content-Length", str(len(data)))
            for name, value in headers.items():
                if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                    self.send_header(name, value)
            self.send_header("Content-Length", length if self.command == "HEAD" else str(len(data)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data[: len(data) // 2] if cut else data)
            if cut:
                self.close_connection = True

        def log_message(self, *_: Any) -> None:
            """Quiet."""

    stop = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", log
    finally:
        stop.set()
        server.shutdown()
        server.server_close()
