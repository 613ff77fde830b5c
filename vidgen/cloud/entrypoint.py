"""What the head of a run executes: `python -m vidgen.cloud.entrypoint --logs URL -- COMMAND ...`.

Writes the run's config from the environment to its file, runs the command, copies its output to
stdout and, in chunks, to the object store, and leaves with its exit code. A store out of reach
never stops a run: output still goes to stdout.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from types import FrameType

from vidgen.cloud.pods import CONFIG_ENV, CONFIG_FILE
from vidgen.cloud.shipper import Shipper
from vidgen.errors import VidgenError
from vidgen.storage.open import open_store

_FLUSH_S = 20.0  # for the last chunk, after the command has ended
# Ray signals every process below its entrypoint itself: handing a signal on would double it.
_UNDER_RAY = "RAY_JOB_CONFIG_JSON_ENV_VAR"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns its exit code, 128 + n for signal n."""
    parser = argparse.ArgumentParser(prog="python -m vidgen.cloud.entrypoint")
    parser.add_argument("--logs", required=True, metavar="URL", help="RUN/logs of the run folder")
    parser.add_argument("command", nargs="+", metavar="COMMAND")
    given = parser.parse_args(arguments)
    _write_config()
    shipper = _shipper(given.logs)
    child = subprocess.Popen(
        given.command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # Lines at once, not when a block is full.
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )

    def hand_on(number: int, frame: FrameType | None) -> None:
        if _UNDER_RAY not in os.environ and child.poll() is None:
            child.send_signal(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, hand_on)
    for data in _output(child):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
        if shipper is not None:
            shipper.add(data)
    code = child.wait()
    if shipper is not None and not shipper.close(_FLUSH_S):
        _say(f"the end of this log did not reach the object store: {shipper.problem}")
    return code if code >= 0 else 128 - code


def _output(child: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """What the command writes, until it ends; a process it leaves behind may hold the pipe open."""
    assert child.stdout is not None
    pipe = child.stdout.fileno()
    while True:
        ended = child.poll() is not None
        readable, _, _ = select.select([pipe], [], [], 0 if ended else 0.5)
        if readable:
            data = os.read(pipe, 2**16)
            if not data:
                return
            yield data
        elif ended:
            return


def _write_config() -> None:
    text = os.environ.get(CONFIG_ENV)
    if text is not None:
        path = Path(os.environ.get("VIDGEN_CONFIG_FILE", CONFIG_FILE))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _shipper(url: str) -> Shipper | None:
    run, _, tail = url.rpartition("/")
    start = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    try:
        if tail != "logs":
            raise VidgenError(f"--logs {url}", expected="the logs/ of a run folder")
        return Shipper(open_store(run), start)
    except VidgenError as error:
        _say(f"logs are not kept: {error}")
        return None


def _say(message: str) -> None:
    print(f"vidgen.cloud.entrypoint: {message}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
