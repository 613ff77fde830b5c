"""A run folder with planted contents, and a browser to look at its page."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator

import numpy as np
import pytest
from browser import Browser, browser

from vidgen.config.families import FAMILIES
from vidgen.config.load import dump
from vidgen.config.run import RunConfig
from vidgen.data.encode import encode_mp4
from vidgen.engine.evaluation import Evaluation, ScoredClip
from vidgen.metrics.score import Protocol, Score, Subject
from vidgen.storage.run_folder import RunFolder, step_name

FAMILIES["duet"] = "engine.duet"
NASTY = '<script>window.broken = 1</script><img src="http://example.com/x.png" onerror="y()"> & "'
STEPS = 1200
PROTOCOL = Protocol(
    n=2, frames=16, height=32, width=32, fps=8.0, resize="bicubic, middle crop", data="sha256:0123",
    split="test", conditions=("text",),
)  # fmt: skip


def moving_square(colour: tuple[int, int, int]) -> bytes:
    """A square that crosses a 48x32 frame in two seconds, as MP4."""
    frames = np.full((16, 32, 48, 3), 20, np.uint8)
    for t, frame in enumerate(frames):
        frame[12:20, 2 * t : 2 * t + 8] = colour
    return encode_mp4(frames, 8)


@pytest.fixture(scope="session")
def planted_run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run with known metrics, samples at two steps, and an evaluation of two clips."""
    folder = RunFolder(str(tmp_path_factory.mktemp("planted") / "run"))
    config = RunConfig.model_validate(
        {
            "name": "planted",
            "description": NASTY,
            "data": {"synthetic": {"clips": 20}},
            "model": {"family": "duet", "conditions": ["label"]},
            "train": {"steps": STEPS},
            "versions": {"torch": "9.9.9"},
        }
    )
    folder.store.write("config.yaml", dump(config).encode())
    lines = [
        {
            "step": step, "time": 1000.0 + step, "loss": 2 * math.exp(-step / 300) + 0.1,
            "lr": 1e-3 * (1 - step / STEPS), "clips_per_s": 50.0, "step_s": 0.5, "grad_norm": 1.0,
        }
        for step in range(1, STEPS + 1)
    ]  # fmt: skip
    lines += [{"step": s, "time": 1000.0 + s, "val_loss": v} for s, v in ((400, 0.5), (800, 0.7))]
    folder.store.write("metrics.jsonl", "".join(json.dumps(x) + "\n" for x in lines).encode())
    for step in (600, STEPS):
        name = f"samples/{step_name(step)}"
        folder.store.write(f"{name}.mp4", moving_square((250, 200, 30)))
        folder.write_json(f"{name}.json", {"videos": [{"caption": NASTY, "clip": "a.mp4"}]})
    folder.store.write("samples/real.mp4", moving_square((90, 90, 90)))
    clips = []
    for index in range(2):
        clip = ScoredClip(
            real=f"eval/{index}_real.mp4", generated=f"eval/{index}_generated.mp4",
            source=f"{index}.mp4", caption=NASTY if index else "a red square",
            asked={"colour": "red", "shape": "square"}, seen={"colour": "red", "shape": "circle"},
        )  # fmt: skip
        folder.store.write(clip.real, moving_square((200, 30, 30)))
        folder.store.write(clip.generated, moving_square((30, 30, 200)))
        clips.append(clip)
    made = Subject(run=folder.url, step=STEPS, guidance=2.0, seed=0)
    judged = dataclasses.replace(PROTOCOL, extractor="judge 1")
    scores = [
        Score(name="validation_loss", value=0.25, better="lower", subject=made, protocol=PROTOCOL),
        Score(
            name="colour_right", value=0.5, unit="ratio", interval=(0.1, 0.9), subject=made,
            protocol=judged,
        ),
        Score(
            name="colour_right", value=1.0, unit="ratio", interval=(0.3, 1.0),
            subject=Subject(kind="ground truth"), protocol=judged,
        ),
    ]  # fmt: skip
    Evaluation(
        step=STEPS,
        time=0.0,
        parameters=1234567,
        scores=scores,
        clips=clips,
        notes=["only two clips"],
    ).write(folder)
    return folder


@pytest.fixture(scope="session")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this room."""
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened
