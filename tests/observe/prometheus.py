"""A real Prometheus that scrapes one port every second."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml
from observe.nodes import free_port, wait_until


class Prometheus:
    """Scrapes `port` of this machine with the target label namespace=test, and evaluates rules."""

    def __init__(self, folder: Path, port: int, rules: Path) -> None:
        program = shutil.which("prometheus")
        if program is None:
            pytest.skip("prometheus is missing: apt-get install prometheus")
        self.url = f"http://127.0.0.1:{free_port()}"
        target = {"targets": [f"127.0.0.1:{port}"], "labels": {"namespace": "test"}}
        scrape = {"job_name": "vidgen", "honor_labels": True, "static_configs": [target]}
        config = {
            "global": {"scrape_interval": "1s", "evaluation_interval": "5s"},
            "scrape_configs": [scrape],
            "rule_files": [str(rules)],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        self._log = (folder / "prometheus.log").open("wb")
        self._process = subprocess.Popen(
            [
                program,
                f"--config.file={folder / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={self.url.removeprefix('http://')}",
            ],
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        wait_until(lambda: self.get("/api/v1/status/buildinfo") is not None, 30)

    def get(self, path: str, **given: str) -> Any:
        address = f"{self.url}{path}?{urllib.parse.urlencode(given)}"
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, query: str) -> list[dict[str, Any]]:
        """Series: each with `metric`, its labels, and `value`, (time, text)."""
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=query)["result"]
        return result

    def number(self, query: str) -> float | None:
        """The value of the only series; None when there is none."""
        found = self.query(query)
        assert len(found) <= 1, found
        return float(found[0]["value"][1]) if found else None

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=20)
        self._log.close()
