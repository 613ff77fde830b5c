"""Decoding alone: processor seconds per clip from local files, readers taking turns clip by clip.

FFmpeg is the limit: its libraries decode the same groups of pictures in this process, every
picture, with no container and no probing; its command does the same job as a user would write it,
its start not counted.
"""

from __future__ import annotations

import resource
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from readers import FPS, FRAMES, SIDE, STRIDE, Task, key, torchcodec_clip


def decoding(task: Task) -> dict[str, float]:
    """Mean CPU seconds per clip by reader."""
    from vidgen.data.indexing import index_source
    from vidgen.data.packets import Source
    from vidgen.data.reader import ClipReader
    from vidgen.storage.local import LocalStore

    store = LocalStore(task.folder)
    sources: dict[int, Source] = {}
    needed, every = ClipReader(store), ClipReader(store, skip_disposable=False)
    without = {kind: ClipReader(store, skip_loop_filter=kind) for kind in ("noref", "all")}

    def clip(reader: ClipReader) -> Callable[[int, float], Any]:
        return lambda number, start_s: reader.read(
            sources[number], start_s=start_s, frames=FRAMES, stride=STRIDE, size=(SIDE, SIDE)
        )

    def path(number: int) -> str:
        return str(Path(task.folder, key(number)))

    ways: dict[str, Callable[[int, float], Any]] = {
        "vidgen": clip(needed),
        "vidgen, no loop filter where unreferenced": clip(without["noref"]),
        "vidgen, no loop filter": clip(without["all"]),
        "FFmpeg's libraries": clip(every),
    }
    command = _ffmpeg()
    if command:
        ways["ffmpeg command"] = lambda number, start_s: _run(command, path(number), start_s)
    with suppress(ImportError, OSError, RuntimeError):
        import torch
        import torchcodec  # noqa: F401

        torch.set_num_threads(1)  # as in a DataLoader's workers; idle threads would count as work
        ways["torchcodec, tuned"] = lambda number, start_s: torchcodec_clip(path(number), start_s)
        ways["torchcodec, defaults"] = lambda number, start_s: _defaults(path(number), start_s)
    with suppress(ImportError, OSError):
        import decord

        ways["decord"] = lambda number, start_s: _decord(decord, path(number), start_s)
    spent: dict[str, list[float]] = {name: [] for name in ways}
    start = (
        _children(lambda: subprocess.run([command, "-version"], stdout=subprocess.DEVNULL))
        if (command)
        else 0.0
    )
    for turn, (number, start_s) in enumerate(task.draws()):
        if number not in sources:
            sources[number] = index_source(store, store.stat(key(number)))
        for name, way in ways.items():
            if name == "ffmpeg command":
                seconds = _children(lambda: way(number, start_s)) - start  # noqa: B023
            else:
                began = time.process_time()
                way(number, start_s)
                seconds = time.process_time() - began
            if turn:  # the first clip loads libraries
                spent[name].append(seconds)
    return {name: sum(seconds) / len(seconds) for name, seconds in spent.items()}


def _defaults(path: str, start_s: float) -> Any:
    """As in torchcodec's first example: exact seeking, whole frames, resized by torch."""
    import torch
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(path)
    first = round(start_s * FPS)
    clip = decoder.get_frames_in_range(first, first + FRAMES * STRIDE, STRIDE).data
    return torch.nn.functional.interpolate(
        clip.float(), size=(SIDE, SIDE), mode="bilinear", antialias=True
    ).to(torch.uint8)


def _decord(package: Any, path: str, start_s: float) -> Any:
    reader = package.VideoReader(path, width=round(SIDE * 16 / 9), height=SIDE, num_threads=1)
    first = round(start_s * FPS)
    return reader.get_batch(range(first, first + FRAMES * STRIDE, STRIDE)).asnumpy()


def _ffmpeg() -> str | None:
    with suppress(ImportError, RuntimeError):
        import imageio_ffmpeg

        found: str = imageio_ffmpeg.get_ffmpeg_exe()
        return found
    return None


def _run(command: str, path: str, start_s: float) -> None:
    chain = f"select=not(mod(n\\,{STRIDE})),scale=-2:{SIDE}:flags=area,crop={SIDE}:{SIDE}"
    source = ["-threads", "1", "-ss", f"{start_s:.6f}", "-i", path]
    frames = ["-filter_threads", "1", "-vf", chain, "-fps_mode", "passthrough"]
    target = ["-frames:v", str(FRAMES), "-pix_fmt", "rgb24", "-f", "rawvideo", "-"]
    command_line = [command, "-v", "error", "-nostdin", *source, *frames, *target]
    subprocess.run(command_line, stdout=subprocess.DEVNULL, check=True)


def _children(call: Callable[[], Any]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    call()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
