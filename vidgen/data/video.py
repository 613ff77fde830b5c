"""Video files to frames and back.

Frames are picked by time, never by counting, so variable frame rates, edit lists and wrong headers
do not matter.

Legend: T frames, H height, W width.
"""

from __future__ import annotations

import io
import math
import os
import stat as stat_module
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from vidgen.data.demux import MAX_PIXELS, open_demuxer
from vidgen.data.denoise import denoised
from vidgen.data.packets import displayed_size
from vidgen.data.picture import Box, Fit, Frames, Scaler
from vidgen.data.reasons import Reason, Rejected

Picture = tuple[int, Any]  # time stamp in ticks of the stream, decoded frame

_STEADY = 0.8  # average over base rate of files that lost a frame here and there
_MAX_GAP_S = 60  # seconds without a frame; a longer gap is a broken clock, not a still


@dataclass(frozen=True, kw_only=True)
class VideoInfo:
    """What a file says about its video stream, after rotation and pixel shape are applied.

    Attributes:
        container, codec, pixel_format: FFmpeg's names.
        width, height: pixels as displayed.
        rotation: degrees clockwise that the stored frames are turned by for display.
        fps: average frame rate in the header, 0 if unknown.
        duration_s: seconds in the header, 0 if unknown. Headers are often wrong.
    """

    container: str
    codec: str
    pixel_format: str
    width: int
    height: int
    rotation: int
    fps: float
    duration_s: float


@dataclass
class Tally:
    """What decoding saw so far."""

    frames: int = 0
    damaged: int = 0
    filled: list[int] = field(default_factory=list)  # output frames that the file lost


@dataclass(kw_only=True)
class Video:
    """An open video; `info` may be called before `frames`, which may be called once."""

    container: Any
    stream: Any
    name: str
    denoise: str = "off"
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.tick = Fraction(self.stream.time_base)  # seconds per unit of a time stamp
        self._pictures: Iterator[Picture] = self._decoded()
        if self.denoise != "off":
            self._pictures = denoised(self._pictures, self.denoise, self.tick)
        self._damaged = 0
        # Files of a variable rate have gaps by design.
        base, average = self.stream.base_rate, self.stream.average_rate
        self._steady = bool(base and average and average > _STEADY * base)

    def info(self) -> VideoInfo:
        """Header facts, and what only the first frame tells: format and rotation."""
        first = next(self._pictures, None)
        if first is None:
            raise Rejected(Reason.CORRUPT, f"{self.name}: no frame can be decoded")
        self._pictures = chain([first], self._pictures)
        frame = first[1]
        turns = int(round(-frame.rotation / 90) % 4)
        height, width = displayed_size(frame.height, frame.width, self._pixel_shape(), turns)
        duration = self.stream.duration and self.stream.duration * self.stream.time_base
        duration = duration or Fraction(self.container.duration or 0, av.time_base)
        return VideoInfo(
            container=self.container.format.name,
            codec=self.stream.codec_context.codec.canonical_name,
            pixel_format=frame.format.name,
            width=width,
            height=height,
            rotation=90 * turns,
            fps=float(self.stream.average_rate or 0),
            duration_s=float(duration),
        )

    def frames(
        self,
        *,
        fps: float | Fraction,
        size: tuple[int, int] | None = None,
        fit: Fit = "crop",
        box: Box | None = None,
        blend: bool = False,
    ) -> Iterator[Frames]:
        """RGB frames (H, W, 3) at times 0, 1/fps, 2/fps, ... after the first frame.

        Each is the decoded frame nearest in time. `size` is (H, W): "crop" scales until both sides
        are covered and cuts the middle out, "stretch" ignores the aspect ratio; None keeps the
        size. `box` is the part of the picture that counts. With `blend`, frames that fall where
        the file lost some are mixed of those around. `tally` grows along the way.

        Raises Rejected (corrupt) if no frame can be decoded or the clock is broken.
        """
        scaler = Scaler(size, fit, self._pixel_shape(), box=box)
        step = 1 / Fraction(fps).limit_denominator(100_000)
        # Times are whole numbers of `unit` seconds: exact, and far cheaper than fractions.
        unit = Fraction(1, math.lcm(self.tick.denominator, 2 * step.denominator))
        tick, step_units = int(self.tick / unit), int(step / unit)
        longest = int(_MAX_GAP_S / unit)
        origin: int | None = None
        held: Any = None  # newest frame, shown from `shown` units after the origin on
        shown = 0
        picture: Frames | None = None  # `held` as an array, once it was asked for
        usual = gap = self._usual() * tick
        due = number = 0  # when the next output frame is due, units, and which it is
        for stamp, frame in self._pictures:
            if origin is None:
                origin, held = stamp, frame
                continue
            now = (stamp - origin) * tick
            if now <= shown:
                continue  # a clock that stands still or runs back
            gap = now - shown
            if gap > longest:
                raise Rejected(Reason.CORRUPT, f"{self.name}: no frame for {gap * unit:.0f} s")
            lost = self._lost(gap, usual)
            following: Frames | None = None
            while 2 * due <= shown + now or (lost and 2 * due < 2 * now - usual):
                picture = scaler(held) if picture is None else picture
                if lost and 2 * due > 2 * shown + usual:
                    self.tally.filled.append(number)
                    if blend:
                        following = scaler(frame) if following is None else following
                        yield _mix(picture, following, (due - shown) / gap)
                    else:
                        nearer = 2 * due <= shown + now
                        yield picture if nearer else scaler(frame)
                else:
                    yield picture
                due, number = due + step_units, number + 1
            held, shown, picture = frame, now, following
        if held is None:
            raise Rejected(Reason.CORRUPT, f"{self.name}: no frame can be decoded")
        lasts = (held.duration or 0) * tick
        end = shown + (lasts if 0 < lasts <= 2 * gap else gap)
        while due == 0 or 2 * due + step_units <= 2 * end:
            picture = scaler(held) if picture is None else picture
            yield picture
            due += step_units

    def glimpses(self, seconds: Iterable[float]) -> Iterator[Frames]:
        """Pictures (H, W, 3) of the displayed size from about these times; not all, if seeking
        fails. Not to be mixed with `frames`."""
        scaler = Scaler(None, "crop", self._pixel_shape())
        for at in seconds:
            with suppress(av.error.FFmpegError):
                self.container.seek(int(at * av.time_base))
                frame = next(iter(self.container.decode(self.stream)), None)
                if frame is not None:
                    yield scaler(frame)

    def _lost(self, gap: int, usual: int) -> bool:
        """Whether frames are missing in a gap: something there was damaged, or the file has a
        constant rate but for it."""
        damaged, self._damaged = self.tally.damaged > self._damaged, self.tally.damaged
        return 2 * gap > 3 * usual and (damaged or self._steady)

    def _decoded(self) -> Iterator[Picture]:
        """(time in ticks, frame) in display order; damaged packets are counted, not raised."""
        usual = self._usual()
        stamp = -usual
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.error.FFmpegError:
                self.tally.damaged += 1
                return
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.tally.damaged += 1
                continue
            for frame in frames:
                if frame.is_corrupt:
                    self.tally.damaged += 1
                    continue
                self.tally.frames += 1
                given = frame.pts if frame.pts is not None else frame.dts
                stamp = given if given is not None else stamp + usual
                yield stamp, frame

    def _usual(self) -> int:
        """Ticks from a frame to the next, by the header."""
        rate = self.stream.average_rate or 25
        return max(1, round(1 / (rate * self.tick)))

    def _pixel_shape(self) -> Fraction:
        """Width of a pixel over its height."""
        shape = self.stream.sample_aspect_ratio or Fraction(1)
        return Fraction(shape) if Fraction(1, 16) < shape < 16 else Fraction(1)


def _mix(a: Frames, b: Frames, share: float) -> Frames:
    """From `a` (share 0) to `b` (1)."""
    mixed: Frames = np.rint(a + (b.astype(np.float32) - a) * np.float32(share)).astype(np.uint8)
    return mixed


@contextmanager
def open_video(
    source: Path | bytes,
    *,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
    denoise: str = "off",
) -> Iterator[Video]:
    """Open a regular file, or a file's bytes, as a video. `denoise`: FFmpeg filter for all frames.

    Raises Rejected: not_a_file, empty_file, not_video, too_many_pixels; no frame is decoded before.
    """
    shown = name or (str(source) if isinstance(source, Path) else "video")
    if isinstance(source, Path):
        _check_regular(source, shown)
        # 'file:' keeps names such as 'concat:x' or '-x' from meaning anything else.
        opened: Any = "file:" + os.fspath(source.absolute())
    else:
        if not source:
            raise Rejected(Reason.EMPTY_FILE, f"{shown} has no bytes")
        opened = io.BytesIO(source)
    with open_demuxer(opened, shown, max_pixels=max_pixels) as (container, stream):
        yield Video(container=container, stream=stream, name=shown, denoise=denoise)


def probe(source: Path | bytes, *, name: str | None = None) -> VideoInfo:
    """What a file says about its video. Raises Rejected."""
    with open_video(source, name=name) as video:
        return video.info()


def decode(
    source: Path | bytes,
    *,
    fps: float | Fraction,
    size: tuple[int, int] | None = None,
    fit: Fit = "crop",
    name: str | None = None,
) -> Frames:
    """A whole (short) video as (T, H, W, 3). Raises Rejected."""
    with open_video(source, name=name) as video:
        return np.stack([*video.frames(fps=fps, size=size, fit=fit)])


def _check_regular(path: Path, shown: str) -> None:
    """Refuse what would hang or run away when opened."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        message = getattr(error, "strerror", None) or str(error)
        raise Rejected(Reason.NOT_A_FILE, f"{shown}: {message}") from None
    if not stat_module.S_ISREG(status.st_mode):
        raise Rejected(Reason.NOT_A_FILE, f"{shown} is not a regular file")
    if status.st_size == 0:
        raise Rejected(Reason.EMPTY_FILE, f"{shown} has no bytes")
    if not os.access(path, os.R_OK):
        raise Rejected(Reason.UNREADABLE, f"{shown}: permission denied")
