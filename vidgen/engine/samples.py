"""Sample videos of a run: the same held-out conditions and the same noise at every interval."""

from __future__ import annotations

import math

import torch
from torch import Generator, Tensor

from vidgen.config.run import RunConfig, SamplingConfig
from vidgen.data.dataset import Dataset, frame_rate
from vidgen.data.loader import eval_batches
from vidgen.data.manifest import Row
from vidgen.data.video import encode_mp4
from vidgen.engine.distributed import Ranks
from vidgen.engine.state import State
from vidgen.models.base import VideoModel
from vidgen.storage.run_folder import REAL_SAMPLES, RunFolder, step_name
from vidgen.types import Condition

_GAP = 2  # pixels between the videos of a grid
_SIDE = 128  # pixels; smaller videos are enlarged by whole factors so that a person sees them


def write_samples(
    state: State, dataset: Dataset, config: RunConfig, folder: RunFolder, ranks: Ranks
) -> None:
    """Write samples/step_XXXXXXXX.mp4, a grid, and .json with what was asked. Called on every rank.

    The held-out clips themselves are in samples/real.mp4, in the same places.

    Rank 0 generates with the averaged weights; the others wait.
    """
    with state.averaged():
        if ranks.lead:
            _write(state, dataset, config, folder, ranks.device)
        ranks.barrier()


@torch.no_grad()
def _write(
    state: State, dataset: Dataset, config: RunConfig, folder: RunFolder, device: torch.device
) -> None:
    model, count = state.objective.model, config.train.samples
    held_out = next(
        eval_batches(
            dataset,
            config,
            split="val",
            limit=count,
            batch_size=count,
            conditions=sorted(model.conditions),
        )
    )
    cond = held_out.batch.cond
    state.objective.eval()
    with state.precision.autocast():
        videos = sample_videos(
            model,
            cond.to(device),
            len(held_out.rows),
            sampling=config.sampling,
            generator=Generator().manual_seed(config.seed),
        )
    state.objective.train()
    name = f"samples/{step_name(state.step)}"
    fps = frame_rate(dataset.summary, config)
    folder.store.write(REAL_SAMPLES, encode_mp4(grid(held_out.batch.video).numpy(), fps))
    folder.store.write(f"{name}.mp4", encode_mp4(grid(videos).numpy(), fps))
    asked = [_asked(row, cond) for row in held_out.rows]
    folder.write_json(
        f"{name}.json",
        {
            "step": state.step,
            "guidance": config.sampling.guidance,
            "seed": config.seed,
            "columns": columns(len(asked)),
            "videos": asked,
        },
    )


def sample_videos(
    model: VideoModel, cond: Condition, n: int, *, sampling: SamplingConfig, generator: Generator
) -> Tensor:
    """n videos, (n, C, T, H, W) in [-1, 1] on the CPU, `sampling.batch_size` at a time."""
    videos = [
        model.sample(
            cond[start : start + sampling.batch_size],
            min(sampling.batch_size, n - start),
            guidance=sampling.guidance,
            generator=generator,
        ).cpu()
        for start in range(0, n, sampling.batch_size)
    ]
    return torch.cat(videos)


def to_frames(videos: Tensor) -> Tensor:
    """(n, C, T, H, W) in [-1, 1] as (n, T, H, W, C) uint8."""
    frames = ((videos.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return frames.permute(0, 2, 3, 4, 1).contiguous()


def columns(n: int) -> int:
    """How many videos stand side by side in a grid of n."""
    return math.ceil(math.sqrt(n))


def grid(videos: Tensor) -> Tensor:
    """(n, C, T, H, W) in [-1, 1] as one video, (T, H', W', 3) uint8, row by row."""
    frames = to_frames(videos)
    n, t, h, w, c = frames.shape
    times = max(1, _SIDE // max(h, w))
    frames = frames.repeat_interleave(times, 2).repeat_interleave(times, 3)
    h, w = h * times + _GAP, w * times + _GAP
    across = columns(n)
    down = math.ceil(n / across)
    sheet = torch.full((t, down * h - _GAP, across * w - _GAP, c), 255, dtype=torch.uint8)
    for index, video in enumerate(frames):
        top, left = index // across * h, index % across * w
        sheet[:, top : top + h - _GAP, left : left + w - _GAP] = video
    return sheet


def _asked(row: Row, cond: Condition) -> dict[str, str]:
    """What a video was asked to show, and the held-out clip it came from."""
    given = {name for name, _ in cond.items()}
    words = {"caption": row.caption} if "text" in given else {}
    words |= {"label": row.label} if "label" in given else {}
    return {**words, "clip": row.clip}
