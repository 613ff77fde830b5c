"""`vidgen generate`: videos out of a run, as files a person can watch."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Generator

from vidgen.config.run import StorageConfig
from vidgen.data.encode import encode_mp4
from vidgen.data.ensure import video_rate
from vidgen.data.picture import Frames
from vidgen.engine.contact_sheet import contact_sheet
from vidgen.engine.load import load_here
from vidgen.engine.measures import LAST_FRAME, last_frame_repeated
from vidgen.engine.prompts import Prompt, read_video
from vidgen.engine.samples import enlarge, sample_videos, to_frames
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import RunFolder

SHEET, RECORD = "contact_sheet.png", "generated.json"


@dataclass(frozen=True, kw_only=True)
class Generated:
    """What one call made.

    Attributes:
        url: of the folder that holds the files.
        files: the names of the videos, in order.
        untold: conditions the model reads and was not given.
        record: content of generated.json.
    """

    url: str
    files: list[str]
    untold: Sequence[str]
    record: dict[str, Any]


@torch.no_grad()
def generate(
    run: str,
    prompt: Prompt,
    *,
    n: int | None = None,
    out: str | None = None,
    seed: int = 0,
    guidance: float | None = None,
    step: int | None = None,
    storage: StorageConfig | None = None,
    source: Path | None = None,
    strength: float = 0.7,
) -> Generated:
    """Generate with a run's averaged weights; write MP4 files, a contact sheet and a record.

    Equal arguments give equal videos.

    Args:
        run: run folder, local or s3://.
        prompt: what to show.
        n: videos per caption; default: 4 for one caption or none, 1 for each of several.
        out: folder or s3:// url; default: generated/<run's name>-<time>.
        seed: of the noise.
        guidance: classifier-free guidance scale; default: the run's.
        step: checkpoint; default: the newest weights.
        storage: how to reach an object store.
        source: video file to make over instead of starting from nothing; its first frames.
        strength: how much of it may change, from 0 to 1.
    """
    folder = RunFolder(run, storage)
    config = folder.config()
    fps = video_rate(config)
    cond = prompt.condition(config, fps=fps)  # before the model, so that a wrong prompt fails fast
    model, trained = load_here(folder, step, storage)
    each = n if n is not None else (4 if prompt.rows == 1 and model.random else 1)
    sampling = config.sampling.with_guidance(guidance)
    cond = cond.map(lambda value: value.repeat_interleave(each, 0))
    generator = Generator().manual_seed(seed)
    if source is not None:
        before = read_video(source, config, fps=fps)[None].expand(each * prompt.rows, *(-1,) * 4)
        videos = model.edit(
            before, cond, strength=strength, guidance=sampling.guidance,
            generator=generator,
        ).cpu()  # fmt: skip
    else:
        videos = sample_videos(
            model, cond, each * prompt.rows, sampling=sampling, generator=generator
        )
    captions = [text for text in prompt.captions or ("",) for _ in range(each)]
    made = to_frames(videos)
    frames: list[Frames] = list(made.numpy())

    when = time.strftime("%Y%m%d-%H%M%S")
    store = open_store(out or f"generated/{config.name}-{when}", storage)
    files = [f"video_{index:03d}.mp4" for index in range(len(frames))]
    for file, video in zip(files, made, strict=True):
        store.write(file, encode_mp4(enlarge(video).numpy(), fps))
    titles = [caption or _title(prompt) for caption in captions]
    if cond.past is not None:  # beside it, what a prediction has to be better than
        still = last_frame_repeated(cond.past[:1], config.data.frames)
        frames, titles = [*frames, to_frames(still)[0].numpy()], [*titles, LAST_FRAME]
    store.write(SHEET, contact_sheet(frames, titles))
    record = {
        "run": folder.url,
        "step": trained,
        "seed": seed,
        "guidance": sampling.guidance,
        "fps": fps,
        "frames": config.data.frames,
        "height": config.data.height,
        "width": config.data.width,
        "prompt": prompt.to_json(),
        **({"from": str(source), "strength": strength} if source is not None else {}),
        "videos": [
            {"file": file, "caption": caption} if caption else {"file": file}
            for file, caption in zip(files, captions, strict=True)
        ],
    }
    store.write(RECORD, (json.dumps(record, indent=2, ensure_ascii=False) + "\n").encode("utf-8"))
    untold = [name for name in config.model.conditions if name not in prompt.given()]
    return Generated(url=store.url, files=files, untold=untold, record=record)


def _title(prompt: Prompt) -> str:
    """What a row without a caption was asked for."""
    told = {k: v for k, v in prompt.to_json().items() if k != "captions"}
    return ", ".join(f"{name} {value}" for name, value in told.items()) or "nothing asked for"
