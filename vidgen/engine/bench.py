"""`vidgen bench`: how long a trained model takes to make a video, and whether that is real time.

What is timed is what a viewer waits for: from the condition on the model's device to 8-bit frames
in memory. The first calls warm up (allocation, kernels, caches) and are reported apart.
"""

from __future__ import annotations

import itertools
import platform
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, quantiles
from typing import Any

import torch
from torch import Generator

from vidgen.config.run import RunConfig, StorageConfig
from vidgen.data.ensure import video_rate
from vidgen.engine.load import load_here
from vidgen.engine.peak_memory import peak_memory
from vidgen.engine.samples import to_frames
from vidgen.errors import ConfigError
from vidgen.models.base import VideoModel
from vidgen.observe.bar import Tell, nobody
from vidgen.storage.run_folder import BENCH, RunFolder
from vidgen.types import Condition, encode_text

WARM_UP = 2


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One setting, measured.

    Attributes:
        batch: videos made in one call.
        steps: sampling steps; None for models that take none.
        calls: timed calls, after the warm-up.
        first_call_s: the very first call of this setting, warm-up included.
        p50_s, p95_s, mean_s: seconds from condition to frames.
        first_frame_s: seconds until the first frame can be shown; all frames of a call come at
            once, so this is p50_s.
        per_video_s, per_frame_s: p50_s over the videos, and over their frames.
        frames_per_s: frames made per second, all videos of a call together.
        real_time: seconds of video made per second; 1 or more keeps up with playback.
        peak_bytes: most memory held during the calls: of the GPU, or of the process on a CPU.
    """

    batch: int
    steps: int | None
    calls: int
    first_call_s: float
    p50_s: float
    p95_s: float
    mean_s: float
    first_frame_s: float
    per_video_s: float
    per_frame_s: float
    frames_per_s: float
    real_time: float
    peak_bytes: int


@dataclass(frozen=True, kw_only=True)
class Bench:
    """All settings of a run on one machine; numbers of different devices do not compare."""

    run: str
    step: int
    device: str
    threads: int
    torch: str
    parameters: int
    frames: int
    height: int
    width: int
    fps: float
    guidance: float
    timings: list[Timing]

    @property
    def verdict(self) -> str:
        """Whether one viewer could watch as it is made."""
        clip = self.frames / self.fps
        one = min(self.timings, key=lambda t: (t.batch, t.p50_s))
        asked = f"{clip:.2f} s of video at {self.fps:g} frames/s"
        speed = f"{one.p50_s:.2f} s, {one.real_time:.2f} times real time"
        answer = "real time" if one.real_time >= 1 else "slower than real time"
        return f"{answer}: {asked} takes {speed} (batch {one.batch})"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


def bench(
    run: str,
    *,
    batches: Sequence[int] = (),
    steps: Sequence[int] = (),
    calls: int = 10,
    guidance: float | None = None,
    step: int | None = None,
    storage: StorageConfig | None = None,
    tell: Tell = nobody,
) -> Bench:
    """Time a run's model and write bench.json into its folder.

    Args:
        run: run folder, local or s3://.
        batches: videos per call; default: 1 and the run's sampling.batch_size.
        steps: sampling steps; default: the model's own.
        calls: timed calls per setting.
        guidance: classifier-free guidance scale; default: the run's.
        step: checkpoint; default: the newest weights.
        tell: called as the work goes on.

    Raises ConfigError when steps are given for a model that takes none.
    """
    folder = RunFolder(run, storage)
    config = folder.config()
    model, trained = load_here(folder, step, storage)
    scale = config.sampling.guidance if guidance is None else guidance
    fps = video_rate(config)
    sizes = sorted(set(batches or (1, config.sampling.batch_size)))
    own = getattr(config.model, "sample_steps", None)
    if steps and own is None:
        raise ConfigError(
            f"family {config.model.family} makes a video without steps", fix="Leave --steps out."
        )
    counts: list[int | None] = [*sorted(set(steps))] or [own]
    settings = list(itertools.product(sizes, counts))
    timings = []
    for done, (batch, count) in enumerate(settings):
        tell(f"batch {batch}" + (f", {count} steps" if count else ""), done, len(settings))
        with _sampling_steps(model, count):
            timings.append(
                _time(model, config, batch=batch, steps=count, calls=calls, guidance=scale, fps=fps)
            )
    tell("done", len(settings), len(settings))
    found = Bench(
        run=folder.url,
        step=trained,
        device=_device_name(model.device),
        threads=torch.get_num_threads(),
        torch=torch.__version__,
        parameters=sum(weight.numel() for weight in model.parameters()),
        frames=config.data.frames,
        height=config.data.height,
        width=config.data.width,
        fps=fps,
        guidance=scale,
        timings=timings,
    )
    folder.write_json(BENCH, found.to_json())
    return found


@torch.no_grad()
def _time(
    model: VideoModel, config: RunConfig, *, batch: int, steps: int | None, calls: int,
    guidance: float, fps: float,
) -> Timing:  # fmt: skip
    device = model.device
    cond = blank_condition(model, config, batch).to(device)
    generator = Generator().manual_seed(0)
    with peak_memory(device) as peak:
        seconds = []
        for _ in range(WARM_UP + calls):
            _wait(device)
            start = time.perf_counter()
            videos = model.sample(cond, batch, guidance=guidance, generator=generator)
            to_frames(videos).cpu()  # also waits for the GPU
            seconds.append(time.perf_counter() - start)
    warm = seconds[WARM_UP:]
    cuts = quantiles(warm, n=20, method="inclusive") if len(warm) > 1 else warm * 19
    p50, p95 = cuts[9], cuts[18]
    frames = config.data.frames
    return Timing(
        batch=batch,
        steps=steps,
        calls=calls,
        first_call_s=seconds[0],
        p50_s=p50,
        p95_s=p95,
        mean_s=fmean(warm),
        first_frame_s=p50,
        per_video_s=p50 / batch,
        per_frame_s=p50 / batch / frames,
        frames_per_s=batch * frames / p50,
        real_time=batch * frames / fps / p50,
        peak_bytes=peak(),
    )


def blank_condition(model: VideoModel, config: RunConfig, rows: int) -> Condition:
    """A condition of the right shapes: what it asks for does not change how long it takes."""
    channels, frames, height, width = model.video_shape
    past = getattr(config.model, "past_frames", 0)
    made = Condition(
        label=torch.zeros(rows, dtype=torch.int64),
        text=encode_text(["a clip of usual length, with a caption of usual length"] * rows),
        image=torch.zeros(rows, channels, height, width),
        sketch=torch.zeros(rows, 1, frames, height, width),
        past=torch.zeros(rows, channels, past, height, width),
    )
    return made.only(*model.conditions)


@contextmanager
def _sampling_steps(model: VideoModel, steps: int | None) -> Iterator[None]:
    """Let the model take this many steps for a while."""
    own: Any = getattr(model, "config", None)
    if steps is None or own is None:
        yield
        return
    model.config = own.model_copy(update={"sample_steps": steps})
    try:
        yield
    finally:
        model.config = own


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
