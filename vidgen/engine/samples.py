"""Sample videos of a run: the same held-out conditions and the same noise at every interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from vidgen.config.run import RunConfig, SamplingConfig
from vidgen.data.dataset import Dataset, frame_rate
from vidgen.data.encode import encode_mp4
from vidgen.data.loader import eval_batches
from vidgen.data.manifest import Row
from vidgen.engine.distributed import Ranks
from vidgen.engine.persist import Errands
from vidgen.engine.state import State
from vidgen.models.base import VideoModel
from vidgen.storage.run_folder import REAL_SAMPLES, RunFolder, step_name
from vidgen.types import Condition, to_uint8

_GAP = 2  # pixels between the videos of a grid
VIEW_SIDE = 128  # pixels; smaller videos are enlarged by whole factors so that a person sees them


def write_samples(
    state: State,
    dataset: Dataset,
    config: RunConfig,
    folder: RunFolder,
    ranks: Ranks,
    errands: Errands,
) -> None:
    """Write samples/step_XXXXXXXX.mp4, a grid, and .json with what was asked. Called on every rank.

    The held-out clips themselves are in samples/real.mp4, in the same places. Ranks generate equal
    shares with the averaged weights; rank 0 leaves encoding and writing to `errands`.
    """
    with state.averaged():
        mine = _generate(state, dataset, config, ranks)
    shares = ranks.gather_to_lead(mine)
    if ranks.lead:
        made = [share[n] for n in range(len(shares[0])) for share in shares if n < len(share)]
        step, fps = state.step, frame_rate(dataset.summary, config)
        errands.do(f"samples of step {step}", lambda: _write(made, step, fps, config, folder))


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """A generated video and the held-out clip it was asked after, (C, T, H, W) in [-1, 1]."""

    video: Tensor
    real: Tensor
    asked: dict[str, str]


@torch.no_grad()
def _generate(state: State, dataset: Dataset, config: RunConfig, ranks: Ranks) -> list[_Sample]:
    """This rank's share of the samples: every world-th of them."""
    model, count = state.objective.model, config.train.samples
    mine = eval_batches(
        dataset,
        config,
        split="val",
        limit=count,
        batch_size=count,
        rank=ranks.rank,
        world=ranks.world,
        conditions=sorted(model.conditions),
    )
    held_out = next(mine, None)
    if held_out is None:
        return []
    cond, batch, size = held_out.batch.cond, held_out.batch, config.sampling.batch_size
    generator = Generator().manual_seed(config.seed + (ranks.rank << 32))
    state.objective.eval()
    with state.precision.autocast():
        videos = torch.cat(
            [
                model.beside(
                    batch[start : start + size].to(ranks.device),
                    guidance=config.sampling.guidance,
                    generator=generator,
                ).cpu()
                for start in range(0, len(batch), size)
            ]
        )
    state.objective.train()
    return [
        _Sample(video=video, real=real, asked=_asked(row, cond))
        for video, real, row in zip(videos, held_out.batch.video, held_out.rows, strict=True)
    ]


def _write(
    made: list[_Sample], step: int, fps: float, config: RunConfig, folder: RunFolder
) -> None:
    name = f"samples/{step_name(step)}"
    for key, videos in (
        (REAL_SAMPLES, [each.real for each in made]),
        (f"{name}.mp4", [each.video for each in made]),
    ):
        folder.store.write(key, encode_mp4(grid(torch.stack(videos)).numpy(), fps))
    folder.write_json(
        f"{name}.json",
        {
            "step": step,
            "guidance": config.sampling.guidance,
            "seed": config.seed,
            "columns": columns(len(made)),
            "videos": [each.asked for each in made],
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
    return to_uint8(videos).permute(0, 2, 3, 4, 1).contiguous()


def enlarge(frames: Tensor) -> Tensor:
    """Small (..., H, W, C) frames, enlarged by the largest whole factor that fits VIEW_SIDE."""
    times = max(1, VIEW_SIDE // max(frames.shape[-3:-1]))
    return frames.repeat_interleave(times, -3).repeat_interleave(times, -2)


def columns(n: int) -> int:
    """How many videos stand side by side in a grid of n: nearly a square, full where it can be."""
    least = math.ceil(math.sqrt(n))
    full = (each for each in range(least, 2 * least - 1) if n % each == 0)
    return next(full, least)


def grid(videos: Tensor) -> Tensor:
    """(n, C, T, H, W) in [-1, 1] as one video, (T, H', W', 3) uint8, row by row."""
    frames = enlarge(to_frames(videos))
    n, t, h, w, c = frames.shape
    h, w = h + _GAP, w + _GAP
    across = columns(n)
    down = math.ceil(n / across)
    sheet = torch.full((t, down * h - _GAP, across * w - _GAP, c), 255, dtype=torch.uint8)
    for index, video in enumerate(frames):
        top, left = index // across * h, index % across * w
        sheet[:, top : top + h - _GAP, left : left + w - _GAP] = video
    return sheet


def _asked(row: Row, cond: Condition) -> dict[str, str]:
    """What a video was asked to show, and the held-out clip it came from."""
    words = {"caption": row.caption} if "text" in cond.given else {}
    words |= {"label": row.label} if "label" in cond.given else {}
    return {**words, "clip": row.name}
