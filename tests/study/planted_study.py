"""Studies with planted contents, and raters with planted tastes."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vidgen.data.encode import encode_mp4
from vidgen.study.model import QUESTIONS, Key, Trial

Taste = Callable[
    [Key, Trial, dict[str, str], random.Random], str
]  # to 'left', 'right', 'same', '1'..'5'


def clip(number: int, *, jumps: bool) -> np.ndarray:
    """(12, 96, 96, 3): a bright square on its way; one that jumps is in two places in turn."""
    frames = np.full((12, 96, 96, 3), 30 + 8 * number, np.uint8)
    for t, frame in enumerate(frames):
        x = 6 + 5 * t if not jumps or t % 2 else 80 - 5 * t
        y = 12 + 10 * number
        frame[y : y + 18, x : x + 18] = (240, 200 - 25 * number, 40 + 30 * number)
    return frames


def folder_of(root: Path, name: str, *, jumps: bool, count: int = 6) -> Path:
    folder = root / name
    folder.mkdir(parents=True)
    for number in range(count):
        (folder / f"clip_{number}.mp4").write_bytes(encode_mp4(clip(number, jumps=jumps), 8))
    return folder


def attentive(prefers: str) -> Taste:
    """Passes checks, prefers one system, gives it 5 and the others 2."""

    def taste(key: Key, trial: Trial, shown: dict[str, str], chance: random.Random) -> str:
        if trial.say:
            return "right" if shown["flipped"] else "left"
        if trial.spoil:
            clean = "b" if trial.spoil == "a" else "a"
            return "left" if shown["left"] == clean else "right"
        if trial.kind == "single":
            assert trial.video
            return "5" if key.videos[trial.video].system == prefers else "2"
        left = key.videos[getattr(trial, shown["left"])].system
        right = key.videos[getattr(trial, shown["right"])].system
        return "left" if left == prefers else "right" if right == prefers else "same"

    return taste


def careless(key: Key, trial: Trial, shown: dict[str, str], chance: random.Random) -> str:
    return chance.choice("12345") if trial.kind == "single" else chance.choice(["left", "right"])


def answers(
    key: Key, rater: str, taste: Taste, *, seed: int = 0, stop: int = 999
) -> dict[str, Any]:
    """What the page would hand out."""
    chance = random.Random(seed)
    given = []
    for trial in key.trials[:stop]:
        flipped = chance.random() < 0.5
        shown = {
            "flipped": flipped,
            "left": "b" if flipped else "a",
            "right": "a" if flipped else "b",
        }
        choices = {q.id: taste(key, trial, shown, chance) for q in QUESTIONS}
        answer: dict[str, Any] = {"trial": trial.id, "choices": choices, "ms": 4000, "replays": 0}
        if trial.kind == "pair":
            left, right = getattr(trial, shown["left"]), getattr(trial, shown["right"])
            answer |= {"left": left, "right": right, "flipped": flipped}
        else:
            answer["video"] = trial.video
        given.append(answer)
    done = "2026-01-01T00:00:00Z" if stop > len(key.trials) else None
    head = {"format": 1, "kind": "vidgen study answers", "study": key.study, "rater": rater}
    return {**head, "name": "", "started": None, "finished": done, "answers": given}


def collect(folder: Path, *raters: dict[str, Any]) -> list[Path]:
    files = []
    for number, one in enumerate(raters):
        files.append(folder / f"answers_{number}.json")
        files[-1].write_text(json.dumps(one))
    return files


def payload(folder: Path) -> dict[str, Any]:
    html = (folder / "page" / "index.html").read_text()
    data = html.partition('<script type="application/json" id="study">')[2].partition("</script>")[
        0
    ]
    found: dict[str, Any] = json.loads(data)
    return found
