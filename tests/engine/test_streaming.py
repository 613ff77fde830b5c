"""Memory of an evaluation does not grow with the number of clips."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from vidgen.data.encode import encode_mp4
from vidgen.data.manifest import DatasetSummary, Row, SourceCounts, write_dataset
from vidgen.data.synthetic import paint, scene_of
from vidgen.storage.local import LocalStore

CLIPS, FILES = 10_000, 50
FRAMES, SIDE = 8, 32
CONFIG = """
name: many
data: {{url: {data}, frames: 8, height: 32, width: 32}}
model: {{family: flow, conditions: [], width: 24, heads: 2, depth: 1, sample_steps: 1}}
train:
  {{steps: 1, batch_size: 4, validate_every: 0, sample_every: 0, samples: 1, checkpoint_every: 1}}
evaluate: {{split: test, training_clips: 0, extractors: [st-stats]}}
"""
PEAK = """
import json, resource, sys, torch
torch.set_num_threads(1)
from vidgen.engine.evaluate import evaluate
found = evaluate(sys.argv[1], clips=int(sys.argv[2]))
score = next(s for s in found.scores if s.name == "fd_st-stats")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"peak": peak, "n": score.protocol.n, "fd": score.value}))
"""


def many_clips(folder: Path) -> Path:
    """A data set of 10,000 test clips, which are 50 files again and again, and some to train on."""
    store, rows = LocalStore(folder), []
    files = []
    for index in range(FILES):
        scene, rng = scene_of(index, seed=0), np.random.default_rng(index)
        frames = paint(scene, rng=rng, frames=FRAMES, height=SIDE, width=SIDE)
        data = encode_mp4(frames, 8)
        store.write(f"clips/{index:03d}.mp4", data)
        files.append((f"clips/{index:03d}.mp4", hashlib.sha256(data).hexdigest(), len(data)))
    splits = ["test"] * CLIPS + ["train"] * 16 + ["val"] * 4
    for index, split in enumerate(splits):
        name, digest, size = files[index % FILES]
        rows.append(
            Row(
                clip=name, source=f"{index:05d}.mp4", split=split,
                start_s=0.0, duration_s=1.0, frames=FRAMES, fps=8.0, width=SIDE, height=SIDE,
                caption="", label="", sha256=digest, bytes=size, motion=0.1, brightness=0.5,
                source_width=SIDE, source_height=SIDE, source_fps=8.0, source_codec="h264",
                extra="{}",
            )
        )  # fmt: skip
    summary = DatasetSummary(
        width=SIDE, height=SIDE, fps=8.0, labels=(),
        sources=SourceCounts(seen=len(rows), kept=len(rows), rejected=0, skipped=0),
        clips={"train": 16, "val": 4, "test": CLIPS}, rejects={}, options={},
    )  # fmt: skip
    write_dataset(store, rows, [], summary)
    return folder


@pytest.mark.slow
def test_10000_clips_take_hardly_more_memory_than_1000(tmp_path: Path) -> None:
    from vidgen.config.load import load_run
    from vidgen.engine.train import train

    (tmp_path / "many.yaml").write_text(CONFIG.format(data=many_clips(tmp_path / "data")))
    train(load_run(str(tmp_path / "many.yaml"), [f"run={tmp_path / 'run'}"]))
    peaks = {}
    for clips in (1000, CLIPS):
        command = [sys.executable, "-c", PEAK, str(tmp_path / "run"), str(clips)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=3000)
        assert done.returncode == 0, done.stderr
        found = json.loads(done.stdout.splitlines()[-1])
        assert found["n"] == clips
        peaks[clips] = found["peak"]
    # As pixels the real and the generated clips alone are 9,000 times 197 kB more.
    pixels = 2 * (CLIPS - 1000) * FRAMES * SIDE * SIDE * 3 * 4
    print({n: f"{peak / 1e6:.0f} MB" for n, peak in peaks.items()}, f"{pixels / 1e6:.0f} MB")
    assert peaks[CLIPS] - peaks[1000] < 0.2 * pixels, peaks
