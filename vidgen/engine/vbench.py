"""`vidgen generate RUN --vbench PROMPTS`: videos laid out as VBench (Huang et al. 2024) reads them.

    OUT/videos/<prompt>-<k>.mp4   k from 0 to 4; 25 of each prompt about flicker
    OUT/generated.json            run, step, seed, guidance, prompts

VBench finds a video by its prompt and takes the file ending from whichever file of the folder comes
first, so nothing but videos is in there. They keep the model's own size and frame rate. The videos
of a prompt depend on the seed and on its text, not on its place: a call that was cut short goes on.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from vidgen.config.run import StorageConfig
from vidgen.data.encode import encode_mp4
from vidgen.data.ensure import video_rate
from vidgen.engine.generate import RECORD
from vidgen.engine.load import load_here
from vidgen.engine.samples import sample_videos, to_frames
from vidgen.errors import ConfigError, NotFoundInStore
from vidgen.observe.bar import Tell, nobody
from vidgen.storage.base import Store
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder
from vidgen.types import Condition, encode_text

EACH = 5
MANY, FLICKER = 25, "temporal_flickering"  # the one dimension that wants more
_LONGEST = 255  # bytes of a file name


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A prompt, and how many videos of it."""

    prompt: str
    videos: int

    def file(self, number: int) -> str:
        return f"{self.prompt}-{number}.mp4"


@torch.no_grad()
def export_vbench(
    run: str,
    prompts: Path,
    out: str,
    *,
    n: int | None = None,
    seed: int = 0,
    guidance: float | None = None,
    step: int | None = None,
    storage: StorageConfig | None = None,
    tell: Tell = nobody,
) -> str:
    """Generate what VBench asks for; returns the url of the folder of videos.

    Args:
        run: run folder, local or s3://; its model must read text.
        prompts: text file with a prompt a line, or VBench's own VBench_full_info.json.
        out: folder or s3:// url.
        n: videos of each prompt; default: 5, and 25 where VBench wants as many.

    Raises ConfigError: a model that reads no text, a file that cannot be read, a prompt that cannot
    be a file's name.
    """
    folder = RunFolder(run, storage)
    config = folder.config()
    if "text" not in config.model.conditions:
        raise ConfigError(
            f"the model of run '{config.name}' does not read text, which is all VBench has",
            fix="Train with model.conditions including 'text'.",
        )
    wanted = read_prompts(prompts, n)
    fps = video_rate(config)
    model, trained = load_here(folder, step, storage)
    sampling = config.sampling.with_guidance(guidance)
    store = open_store(out, storage)
    record = {
        "run": folder.url,
        "step": trained,
        "seed": seed,
        "guidance": sampling.guidance,
        "fps": fps,
        "layout": "vbench",
        "prompts": {each.prompt: each.videos for each in wanted},
    }
    _check_same(store, record)
    store.write(RECORD, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode())
    videos, total, done = store.sub("videos"), sum(each.videos for each in wanted), 0
    there = {stat.key for stat in videos.list()}
    for each in wanted:
        if not all(each.file(number) in there for number in range(each.videos)):
            made = sample_videos(
                model,
                Condition(text=encode_text([each.prompt] * each.videos)),
                each.videos,
                sampling=sampling,
                generator=Generator().manual_seed(_noise(seed, each.prompt)),
            )
            for number, frames in enumerate(to_frames(made).numpy()):
                videos.write(each.file(number), encode_mp4(frames, fps))
        done += each.videos
        tell(each.prompt[:40], done, total)
    return videos.url


def read_prompts(path: Path, n: int | None = None) -> list[Wanted]:
    """Prompts of a file, each once, in order. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8")
        rows = _full_info(json.loads(text)) if path.suffix == ".json" else _lines(text)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"no prompts can be read from {path}: {error!r}",
            expected="a text file with a prompt a line, or VBench_full_info.json",
        ) from None
    found: dict[str, int] = {}
    for prompt, videos in rows:
        if "/" in prompt or "\0" in prompt or len(f"{prompt}-99.mp4".encode()) > _LONGEST:
            raise ConfigError(
                f"{path}: the prompt '{prompt[:60]}' cannot be a file's name, as VBench wants it",
                expected=f"no '/' and at most {_LONGEST - len('-99.mp4')} bytes",
            )
        found[prompt] = max(found.get(prompt, 0), n or videos)
    if not found:
        raise ConfigError(f"{path} has no prompts")
    return [Wanted(prompt=prompt, videos=videos) for prompt, videos in found.items()]


def _lines(text: str) -> list[tuple[str, int]]:
    return [(line.strip(), EACH) for line in text.splitlines() if line.strip()]


def _full_info(rows: list[dict[str, Any]]) -> list[tuple[str, int]]:
    return [
        (str(row["prompt_en"]), MANY if FLICKER in row.get("dimension", []) else EACH)
        for row in rows
    ]


def _check_same(store: Store, record: dict[str, Any]) -> None:
    """Videos of another run, step or seed must not be mixed in."""
    try:
        before = json.loads(store.read(RECORD))
    except NotFoundInStore:
        return
    differing = [k for k in record if k != "prompts" and before.get(k) != record[k]]
    if differing:
        raise ConfigError(
            f"{store.url} holds videos of another {', '.join(differing)}",
            fix="Give another --out, or empty that folder.",
        )


def _noise(seed: int, prompt: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed} {prompt}".encode()).digest()[:7], "little")
