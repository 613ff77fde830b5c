"""What `vidgen-cloud doctor` runs on a head pod: `python -m vidgen.cloud.probe URL`.

With the identity, image and mounts of runs: writes, reads and deletes an object, looks at what
is writable. Prints one line of JSON after PROBE; a check that fails does not stop the others.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path

PREFIX = "PROBE "


def main(url: str) -> int:
    """Run all checks; the exit code is 0 even when one fails: the line says which."""
    found = {
        "object store": _try(lambda: _store(url)),
        "/dev/shm": _try(_shared_memory),
        "/tmp": _try(lambda: _writable(tempfile.gettempdir())),
        "HOME": _try(lambda: _writable(str(Path.home()))),
        "user": _try(_user),
    }
    print(PREFIX + json.dumps(found), flush=True)
    return 0


def parse(output: str) -> dict[str, dict[str, str]] | None:
    """The probe's line in a program's output: check -> {"ok": text} or {"failed": text}."""
    for line in reversed(output.splitlines()):
        if PREFIX in line:
            found: dict[str, dict[str, str]] = json.loads(line.partition(PREFIX)[2])
            return found
    return None


def _try(check: Callable[[], str]) -> dict[str, str]:
    try:
        return {"ok": check()}
    except Exception as error:
        return {"failed": f"{type(error).__name__}: {error}"}


def _store(url: str) -> str:
    from vidgen.storage.open import open_store

    store, key, data = open_store(url), f"probe/{uuid.uuid4()}", os.urandom(1000)
    store.write(key, data)
    try:
        if store.read(key) != data:
            raise OSError("other bytes came back than were written")
    finally:
        store.delete(key)
    return f"written, read and deleted below {url}"


def _shared_memory() -> str:
    total = shutil.disk_usage("/dev/shm").total
    if total < 256 * 1024**2:
        raise OSError(f"only {total / 1e6:.0f} MB: Ray's object store and loaders need more")
    return f"{total / 1e9:.1f} GB"


def _writable(folder: str) -> str:
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        file.write(b"x")
    return f"{folder} is writable"


def _user() -> str:
    if os.getuid() == 0:
        raise PermissionError("the container runs as root")
    return f"uid {os.getuid()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
