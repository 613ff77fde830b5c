"""The readers that are compared. Each runs in a process of its own and yields once per clip.

Every reader gets the same videos, worker processes and clip shape. What a peer offers to be faster
is used: approximate seeking, resizing inside the decoder, whole files in large shards.

    python readers.py NAME TASK.json
"""

from __future__ import annotations

import io
import json
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vidgen.config.data import SkipLoopFilter

MIXED = "torchcodec, vidgen's ranges"
UNFILTERED = "vidgen, no loop filter"  # data.skip_loop_filter
FRAMES, STRIDE, SIDE, FPS = 16, 2, 128, 30
SPAN_S = (FRAMES - 1) * STRIDE / FPS


@dataclass(frozen=True, kw_only=True)
class Task:
    """What to read.

    Attributes:
        endpoint, bucket: the S3 server; the bucket holds `videos/NNNNN.mp4` and peers' formats.
        folder: the same bucket as a folder, for what has to run without a network.
        objects, duration_s: how many videos, and how long each is.
        clips: how many clips to yield.
        workers: decoder processes.
        scratch: a folder for local copies.
    """

    endpoint: str
    bucket: str
    folder: str
    objects: int
    duration_s: float
    clips: int
    workers: int
    scratch: str
    seed: int = 0

    def draws(self) -> list[tuple[int, float]]:
        """(video, start in seconds) of each clip; no video twice in an epoch."""
        rng = random.Random(self.seed)
        order: list[int] = []
        while len(order) < self.clips:
            order += rng.sample(range(self.objects), self.objects)
        return [(number, rng.uniform(0, self.duration_s - SPAN_S - 0.1)) for number in order][
            : self.clips
        ]


def key(number: int) -> str:
    return f"videos/{number:05d}.mp4"


# --- vidgen


def vidgen(task: Task, skip_loop_filter: SkipLoopFilter = "none") -> Iterator[None]:
    """Packet index, one range request a clip, packets straight into a decoder."""
    from vidgen.data.pool import Pool

    clips = Clips(_vidgen_url(task), skip_loop_filter)
    with Pool(clips, workers=task.workers, ahead=clips.ahead) as pool:
        for outcome in pool.run(task.draws()):
            assert outcome.get().shape == (FRAMES, SIDE, SIDE, 3)
            yield


def _vidgen_url(task: Task) -> str:
    os.environ.update(AWS_ENDPOINT_URL=task.endpoint, AWS_ACCESS_KEY_ID="x")
    os.environ.update(AWS_SECRET_ACCESS_KEY="x", AWS_REGION="us-east-1")
    return f"s3://{task.bucket}"


class Clips:
    """What vidgen's loader does in a decoder process, without a manifest."""

    def __init__(self, url: str, skip_loop_filter: SkipLoopFilter) -> None:
        from vidgen.data.index_file import PacketIndex
        from vidgen.data.reader import ClipReader
        from vidgen.storage.open import open_store

        store = open_store(url)
        self.index = PacketIndex(store)
        self.reader = ClipReader(store, skip_loop_filter=skip_loop_filter)

    def ahead(self, draw: tuple[int, float]) -> Any:
        source = self.index[draw[0]]
        return source, self.reader.fetch(source, start_s=draw[1], frames=FRAMES, stride=STRIDE)

    def __call__(self, draw: tuple[int, float], ahead: Any) -> Any:
        source, fetched = ahead
        return self.reader.read(
            source,
            start_s=draw[1],
            frames=FRAMES,
            stride=STRIDE,
            size=(SIDE, SIDE),
            fetched=fetched,
        )


# --- torchcodec in a DataLoader


def torchcodec_fsspec(task: Task) -> Iterator[None]:
    """A decoder over fsspec's file of the object, as torchcodec's guide to streaming has it."""
    yield from _loader(_Draws(task, _fsspec), task)


def torchcodec_ranges(task: Task) -> Iterator[None]:
    """No peer: torchcodec behind vidgen's reading of ranges, which shows what decoding alone is
    worth."""
    yield from _loader(_Draws(task, _ranges), task)


def torchcodec_whole(task: Task) -> Iterator[None]:
    """A decoder over the bytes of the whole file."""
    yield from _loader(_Draws(task, _whole), task)


def _fsspec(task: Task, number: int, start_s: float) -> Any:
    import fsspec

    with fsspec.open(f"{task.endpoint}/{task.bucket}/{key(number)}") as file:
        return torchcodec_clip(file, start_s)


def _ranges(task: Task, number: int, start_s: float) -> Any:
    from vidgen.data.ranges import RangeFile

    store = _store(task)
    return torchcodec_clip(RangeFile(store, store.stat(key(number))), start_s)


def _whole(task: Task, number: int, start_s: float) -> Any:
    return torchcodec_clip(_store(task).read(key(number)), start_s)


def torchcodec_clip(source: Any, start_s: float) -> Any:
    from torchcodec.decoders import VideoDecoder
    from torchcodec.transforms import Resize

    decoder = VideoDecoder(
        source,
        seek_mode="approximate",  # 'exact' reads the whole file first
        transforms=[Resize((SIDE, round(SIDE * 16 / 9)))],
        dimension_order="NHWC",
        num_ffmpeg_threads=1,
    )
    first = round(start_s * FPS)
    clip = decoder.get_frames_in_range(first, first + FRAMES * STRIDE, STRIDE).data
    left = (clip.shape[2] - SIDE) // 2
    return clip[:, :, left : left + SIDE]


_open: dict[str, Any] = {}


def _store(task: Task) -> Any:
    from vidgen.storage.open import open_store

    place = f"{task.endpoint} {task.bucket}"
    if place not in _open:
        _open[place] = open_store(_vidgen_url(task))
    return _open[place]


# --- decord in a DataLoader


def decord(task: Task) -> Iterator[None]:
    """decord decodes whole files, with the resize built in."""
    yield from _loader(_Draws(task, _decord), task)


def _decord(task: Task, number: int, start_s: float) -> Any:
    import decord as package

    data = io.BytesIO(_store(task).read(key(number)))
    reader = package.VideoReader(
        data, ctx=package.cpu(0), width=round(SIDE * 16 / 9), height=SIDE, num_threads=1
    )
    first = round(start_s * FPS)
    clip = reader.get_batch(range(first, first + FRAMES * STRIDE, STRIDE)).asnumpy()
    left = (clip.shape[2] - SIDE) // 2
    return clip[:, :, left : left + SIDE]


class _Draws:
    """A map-style data set: one clip per draw."""

    def __init__(self, task: Task, read: Callable[[Task, int, float], Any]) -> None:
        self.task, self.read, self.draws = task, read, task.draws()

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, index: int) -> Any:
        return self.read(self.task, *self.draws[index])


def _loader(dataset: Any, task: Task) -> Iterator[None]:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        dataset,
        batch_size=None,
        num_workers=task.workers,
        persistent_workers=True,
    )
    for _, clip in zip(range(task.clips), loader, strict=False):
        assert clip.shape == (FRAMES, SIDE, SIDE, 3)
        yield


# --- MosaicML Streaming


def mosaic(task: Task) -> Iterator[None]:
    """Shards of whole videos, decoded by torchcodec."""
    streaming = import_streaming()
    os.environ["S3_ENDPOINT_URL"] = task.endpoint
    _vidgen_url(task)

    class Clips(streaming.base.StreamingDataset):  # type: ignore[misc, name-defined]
        def __getitem__(self, at: Any) -> Any:
            start_s = random.uniform(0, task.duration_s - SPAN_S - 0.1)
            return torchcodec_clip(super().__getitem__(at)["video"], start_s)

    dataset = Clips(
        remote=f"s3://{task.bucket}/mosaic",
        local=f"{task.scratch}/mosaic-{os.getpid()}",
        shuffle=True,
        batch_size=1,
        cache_limit="2gb",
    )
    for stream in dataset.streams:
        # It has read the index. Forked workers would share its connection, and take each other's
        # bytes: 'Relative sample index 8 is not present', or videos of another's pieces.
        stream._downloader.clean_up()
    yield from _loader(dataset, task)


def import_streaming() -> Any:
    """The library without its text and vision modules: they want transformers and torchvision."""
    for name in ("streaming.text", "streaming.vision", "streaming.multimodal"):
        sys.modules.setdefault(name, types.ModuleType(name))
    import streaming

    return streaming


# --- WebDataset


def webdataset(task: Task) -> Iterator[None]:
    """Tar files of whole videos over HTTP, decoded by torchcodec."""
    import webdataset as package

    shards = len(list(Path(task.folder, "webdataset").iterdir()))
    url = (
        f"pipe:curl -s -f {task.endpoint}/{task.bucket}/webdataset/{{00000..{shards - 1:05d}}}.tar"
    )
    dataset = (
        package.WebDataset(url, shardshuffle=shards, nodesplitter=None, empty_check=False)
        .to_tuple("mp4")
        .map(partial(_webdataset_clip, task.duration_s))
    )
    yield from _loader(dataset, task)


def _webdataset_clip(duration_s: float, sample: tuple[bytes]) -> Any:
    return torchcodec_clip(sample[0], random.uniform(0, duration_s - SPAN_S - 0.1))


READERS: dict[str, Callable[[Task], Iterator[None]]] = {
    "vidgen": vidgen,
    UNFILTERED: partial(vidgen, skip_loop_filter="all"),
    "torchcodec, fsspec": torchcodec_fsspec,
    "torchcodec, whole files": torchcodec_whole,
    "decord": decord,
    "MosaicML Streaming": mosaic,
    "WebDataset": webdataset,
    MIXED: torchcodec_ranges,
}


def main() -> None:
    """Says 'ready' after two clips per worker, 'done' at the end, and waits to be measured."""
    name, path = sys.argv[1:]
    task = Task(**json.loads(Path(path).read_text()))
    warm = 2 * task.workers
    count = 0
    for count, _ in enumerate(READERS[name](task), start=1):
        if count == warm:
            print("ready", flush=True)
        if count == task.clips:
            print("done", count, flush=True)
            sys.stdin.readline()


if __name__ == "__main__":
    main()
