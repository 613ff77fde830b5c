"""Serve the folders that pip is configured to use on this machine, over loopback, for a build.

pip_folders.py DIR      writes DIR/pip.conf, then serves until it is ended
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote


def main() -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    settings: dict[str, str] = {}
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        settings[key.rpartition(".")[2]] = value.strip("'\"")

    folders: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def send_head(self):  # type: ignore[no-untyped-def]
            """These folders, nothing else of this machine."""
            if not unquote(self.path).startswith(tuple(folders)) or ".." in self.path:
                return self.send_error(404)
            return super().send_head()

        def log_message(self, *args: object) -> None:
            """One line per file would bury the build's own output."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory="/"))

    def reachable(text: str) -> str:
        places = []
        for place in text.split():
            folder = place.removeprefix("file://").rstrip("/") + "/"
            if folder.startswith("/"):
                # Indexes link to files beside them: x/simple to x/files.
                folders.append(folder.removesuffix("simple/"))
                place = f"http://127.0.0.1:{server.server_port}{folder}"
            places.append(place)
        return " ".join(places)

    lines = ["[global]"]
    for key in ("index-url", "extra-index-url", "find-links"):
        if key in settings:
            lines.append(f"{key} = {reachable(settings[key])}")
    if "cert" in settings:
        lines.append("cert = /etc/ssl/certs/ca-certificates.crt")
    (Path(sys.argv[1]) / "pip.conf").write_text("\n".join(lines) + "\n")
    server.serve_forever()


if __name__ == "__main__":
    main()
