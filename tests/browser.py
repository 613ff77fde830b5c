"""A headless Chromium that tests drive over the WebDriver protocol."""

from __future__ import annotations

import base64
import json
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage",
]  # fmt: skip


class Browser:
    """One browser window."""

    def __init__(self, endpoint: str, session: str) -> None:
        self._endpoint, self._session = endpoint, session

    def open(self, page: Path | str) -> None:
        self._call("POST", "url", {"url": page.as_uri() if isinstance(page, Path) else page})

    def run(self, script: str) -> Any:
        """The value that the script, which may await, returns."""
        body = {"script": f"return (async () => {{{script}}})()", "args": []}
        return self._call("POST", "execute/sync", body)

    def resize(self, width: int, height: int) -> None:
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=width < 600,
        )  # fmt: skip

    def prefer(self, **features: str) -> None:
        """Emulate media features: prefer(prefers_color_scheme='dark')."""
        wanted = [{"name": k.replace("_", "-"), "value": v} for k, v in features.items()]
        self._cdp("Emulation.setEmulatedMedia", features=wanted)

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._call("GET", "screenshot")))

    def point_at(self, x: int, y: int) -> None:
        move = {"type": "pointerMove", "x": x, "y": y, "duration": 0}
        mouse = {"type": "pointer", "id": "mouse", "actions": [move]}
        self._call("POST", "actions", {"actions": [mouse]})

    def press(self, *keys: str) -> None:
        """Type keys, one after another: 'a', 'ArrowLeft', 'Enter'."""
        codes = {
            "Backspace": "\ue003", "Tab": "\ue004", "Enter": "\ue007", "Space": " ",
            "ArrowLeft": "\ue012", "ArrowRight": "\ue014", "ArrowDown": "\ue015",
        }  # fmt: skip
        strokes = [
            {"type": kind, "value": codes.get(key, key)}
            for key in keys
            for kind in ("keyDown", "keyUp")
        ]
        self._call(
            "POST", "actions", {"actions": [{"type": "key", "id": "keys", "actions": strokes}]}
        )

    def requests(self) -> list[str]:
        """Urls asked for since the last call."""
        found = []
        for entry in self._call("POST", "se/log", {"type": "performance"}):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                found.append(message["params"]["request"]["url"])
        return found

    def complaints(self) -> list[str]:
        """What the console said since the last call, errors and warnings."""
        return [entry["message"] for entry in self._call("POST", "se/log", {"type": "browser"})]

    def _cdp(self, command: str, **params: Any) -> None:
        self._call("POST", "goog/cdp/execute", {"cmd": command, "params": params})

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        return request(method, f"{self._endpoint}/session/{self._session}/{path}", body)


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """A fresh browser; skips the test when there is none."""
    driver, chromium = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or chromium is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = profile / "chromedriver.log"
    process = subprocess.Popen(
        [driver, f"--port={port}"], stdout=log.open("wb"), stderr=subprocess.STDOUT
    )
    endpoint = f"http://127.0.0.1:{port}"
    options = {"binary": chromium, "args": [*FLAGS, f"--user-data-dir={profile / 'chromium'}"]}
    wanted = {
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
    }
    try:
        _wait_for(endpoint, log)
        made = request("POST", f"{endpoint}/session", {"capabilities": {"alwaysMatch": wanted}})
        session = made["sessionId"]
        try:
            yield Browser(endpoint, session)
        finally:
            request("DELETE", f"{endpoint}/session/{session}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def request(method: str, url: str, body: Any = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=120) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{method} {url}: {json.load(error)['value']['message']}") from None


def _wait_for(endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            if request("GET", f"{endpoint}/status")["ready"]:
                return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.1)
    pytest.fail(
        f"chromedriver did not start:\n{re.sub(chr(0), '', log.read_text(errors='replace'))}"
    )
