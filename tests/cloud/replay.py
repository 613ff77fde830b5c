"""Recorded lifecycles, played into a FakeKubernetes moment by moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_kubernetes import FakeKubernetes

Obj = dict[str, Any]
KINDS = ("rayjobs", "pods", "events")
HERE = Path(__file__).parent / "lifecycles"  # hand-written, of the same shape


def recordings() -> Path | None:
    """The folder of recordings from a real cluster, if this machine has it."""
    given = os.environ.get("VIDGEN_TEST_RECORDINGS")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "recordings"
    return folder if (folder / "success" / "rayjobs.jsonl").is_file() else None


def need_recordings() -> Path:
    found = recordings()
    if found is None:
        pytest.skip("no cluster recordings: set VIDGEN_TEST_RECORDINGS to their folder")
    return found


def timeline(folder: Path) -> list[tuple[float, str, Obj]]:
    """(seconds, kind, watch event) of a scenario, in order."""
    found = []
    for kind in KINDS:
        file = folder / f"{kind}.jsonl"
        if file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                event = json.loads(line)
                found.append((float(event["t"]), kind, event))
    return sorted(found, key=lambda item: item[0])


def play(folder: Path, cluster: FakeKubernetes, until: float = float("inf")) -> None:
    """Bring a cluster to the moment `until`, seconds after the recording began."""
    for _ in steps(folder, cluster, until):
        pass


def steps(folder: Path, cluster: FakeKubernetes, until: float = float("inf")) -> Iterator[float]:
    """Apply one watch event after another; yields its time after each."""
    for seconds, kind, event in timeline(folder):
        if seconds > until:
            return
        obj = event["object"]
        if event["type"] == "DELETED":
            cluster.remove(kind, obj["metadata"]["name"])
        else:
            # Where it was recorded does not matter: it is replayed into the test's namespace.
            meta = {**obj["metadata"], "namespace": cluster.namespace}
            cluster.put(kind, {**obj, "metadata": meta})
        yield seconds
