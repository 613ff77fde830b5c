"""What `vidgen-cloud status` says of a sweep."""

from __future__ import annotations

import json
from pathlib import Path

from vidgen.cloud.progress import sweep_progress
from vidgen.storage.local import LocalStore


def test_a_sweep_is_told_by_its_trials(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    assert sweep_progress(store) == "no trial started yet"
    found = {
        "trials": {"waiting": 3, "running": 2, "stopped": 0, "done": 13, "failed": 0},
        "wanted": 18,
        "metric": "val_loss",
        "best": {"trial": "t004", "score": 0.08123},
    }
    store.write("sweep.json", json.dumps(found).encode())
    assert sweep_progress(store) == (
        "18 trials: 3 waiting, 2 running, 13 done; best val_loss 0.08123 (t004)"
    )
    store.write("sweep.json", b"{")
    assert sweep_progress(store).startswith("cannot be read from here: ")
