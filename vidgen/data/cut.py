"""One source to prepared clips: the work of a decoder process."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vidgen.config.prepare import PrepareOptions
from vidgen.data.reasons import Reason, Rejected
from vidgen.data.video import Frames, Video, VideoInfo, encode_mp4, open_video
from vidgen.errors import AccessDenied, NotFoundInStore
from vidgen.storage.base import Stat, Store

_VISIBLE = 16  # levels of 255; smaller changes are noise of sensor and codec


@dataclass(frozen=True, kw_only=True)
class Job:
    """A source to cut."""

    src: Store
    dest: Store
    stat: Stat
    options: PrepareOptions


@dataclass(frozen=True, kw_only=True)
class Left:
    """A source, or the clip at `start_s`, that is left out."""

    reason: str
    detail: str
    start_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class Record:
    """What became of a source; a line of the journal.

    Attributes:
        source, etag, size: which file.
        options: fingerprint of the options it was cut with.
        clips: manifest columns known here, one dict a clip.
        left: what was left out; everything if there are no clips.
    """

    source: str
    etag: str
    size: int
    options: str
    clips: list[dict[str, Any]]
    left: list[Left]

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Record:
        return cls(**{**values, "left": [Left(**item) for item in values["left"]]})

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def cut(job: Job) -> Record:
    """Decode a source, write its clips to DEST, and say what became of it.

    Raises StorageError if SRC or DEST fail altogether; faults of the source are in the record.
    """
    clips: list[dict[str, Any]] = []
    left: list[Left] = []
    with ExitStack() as stack:
        try:
            path = stack.enter_context(job.src.as_file(job.stat.key))
        except (NotFoundInStore, AccessDenied) as error:
            return record(job, [], [Left(reason=Reason.UNREADABLE.value, detail=str(error))])
        try:
            _cut_file(job, path, clips, left)
        except Rejected as error:
            clips, left = [], [Left(reason=error.reason.value, detail=error.detail)]
    if not clips and len(left) > 1:
        left = [dataclasses.replace(left[0], start_s=None)]
    return record(job, clips, left)


def record(job: Job, clips: list[dict[str, Any]], left: list[Left]) -> Record:
    """The journal line for a job."""
    return Record(
        source=job.stat.key,
        etag=job.stat.etag,
        size=job.stat.size,
        options=job.options.fingerprint(),
        clips=clips,
        left=left,
    )


def clip_key(source: str, index: int) -> str:
    """Where a clip lies below DEST: readable, and no two sources share one."""
    digest = hashlib.sha256(source.encode()).hexdigest()
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", PurePosixPath(source).stem)[:40].strip("-") or "clip"
    return f"clips/{digest[:2]}/{name}-{digest[:12]}-{index:05d}.mp4"


def _cut_file(job: Job, path: Path, clips: list[dict[str, Any]], left: list[Left]) -> None:
    options, key = job.options, job.stat.key
    with open_video(path, name=key, max_pixels=options.max_pixels) as video:
        info = video.info()
        check(key, info, options)
        length = max(1, round(options.clip_seconds * options.fps))
        shortest = max(2, round(options.min_seconds * options.fps))
        for index, frames in enumerate(_windows(video, length, options)):
            start_s = index * length / options.fps
            if len(frames) < shortest:
                if index == 0:
                    found = f"{key}: {len(frames) / options.fps:.2f} s"
                    raise Rejected(Reason.TOO_SHORT, f"{found}, under {options.min_seconds:g} s")
            elif (share := moving(frames)) < options.min_moving:
                detail = f"{key}: {share:.2%} of the picture moves"
                left.append(Left(reason=Reason.STATIC.value, detail=detail, start_s=start_s))
            else:
                clips.append(_write(job, frames, index, start_s, info))
        tally = video.tally
        if tally.damaged > options.max_damaged * (tally.frames + tally.damaged):
            detail = f"{key}: {tally.damaged} damaged frames, {tally.frames} whole ones"
            raise Rejected(Reason.CORRUPT, detail)


def _windows(video: Video, length: int, options: PrepareOptions) -> Any:
    """Consecutive (T, H, W, 3) arrays of `length` frames; the last may be shorter."""
    held: list[Frames] = []
    for frame in video.frames(
        fps=options.fps, size=(options.height, options.width), fit=options.fit
    ):
        held.append(frame)
        if len(held) == length:
            yield np.stack(held)
            held = []
    if held:
        yield np.stack(held)


def check(key: str, info: VideoInfo, options: PrepareOptions) -> None:
    """What the first frame and the header are enough for."""
    if min(info.width, info.height) < options.min_side:
        size = f"{info.width}x{info.height}"
        raise Rejected(Reason.TOO_SMALL, f"{key}: {size}, under {options.min_side} pixels")
    if 0 < info.fps < options.min_source_fps:
        raise Rejected(
            Reason.LOW_RATE, f"{key}: {info.fps:g} fps, under {options.min_source_fps:g}"
        )


def _write(job: Job, frames: Frames, index: int, start_s: float, info: VideoInfo) -> dict[str, Any]:
    options, key = job.options, clip_key(job.stat.key, index)
    data = encode_mp4(frames, options.fps, crf=options.crf, keyframe_every=options.keyframe_every)
    job.dest.write(key, data)
    return {
        "clip": key,
        "sha256": hashlib.sha256(data).hexdigest(),
        "bytes": len(data),
        **describe(job, frames, start_s, info),
    }


def describe(job: Job, frames: Frames, start_s: float, info: VideoInfo) -> dict[str, Any]:
    """Manifest columns that follow from a clip's frames and its source."""
    options = job.options
    change = np.abs(np.diff(frames.astype(np.int16), axis=0))
    luma = frames.reshape(-1, 3).mean(0) @ np.array([0.2126, 0.7152, 0.0722])  # BT.709
    return {
        "source": job.stat.key,
        "start_s": start_s,
        "duration_s": len(frames) / options.fps,
        "frames": len(frames),
        "fps": options.fps,
        "width": options.width,
        "height": options.height,
        "motion": round(float(change.mean()) / 255, 6),
        "brightness": round(float(luma) / 255, 6),
        "source_width": info.width,
        "source_height": info.height,
        "source_fps": round(info.fps, 6),
        "source_codec": info.codec,
    }


def moving(frames: Frames) -> float:
    """Share of pixels that change visibly at some time."""
    spread = frames.max(0) - frames.min(0)  # (H, W, 3)
    return float((spread.max(-1) > _VISIBLE).mean())
