"""Why a file or clip is not used: a short closed list."""

from __future__ import annotations

from enum import Enum

from vidgen.errors import DataError


class Reason(str, Enum):
    """The `reason` column of rejects.jsonl."""

    NOT_A_FILE = "not_a_file"
    """A pipe, socket, device or link to nowhere."""
    BAD_NAME = "bad_name"
    """A name that is not UTF-8 or has empty or '..' parts."""
    EMPTY_FILE = "empty_file"
    NOT_VIDEO = "not_video"
    """No container that vidgen reads, or one without a video stream."""
    TOO_MANY_PIXELS = "too_many_pixels"
    """The frames are larger than the limit; nothing was decoded."""
    CORRUPT = "corrupt"
    """Frames cannot be decoded, or too many of them are damaged."""
    TOO_SMALL = "too_small"
    TOO_SHORT = "too_short"
    LOW_RATE = "low_rate"
    """Too few frames per second."""
    STATIC = "static"
    """Nothing moves."""
    FROZEN = "frozen"
    """The picture stands still for too much of the clip."""
    DARK = "dark"
    BRIGHT = "bright"
    BLURRY = "blurry"
    NOISY = "noisy"
    LETTERBOXED = "letterboxed"
    """Black bars around the picture."""
    MISSING_FRAMES = "missing_frames"
    """Frames are lost or damaged, and not to be repaired."""
    DUPLICATE = "duplicate"
    """The same frames as another clip."""
    NEAR_DUPLICATE = "near_duplicate"
    """Shows the same as a clip of another source."""
    TIMEOUT = "timeout"
    """Decoding took longer than the limit."""
    CRASHED = "crashed"
    """The process that decoded it died."""
    UNREADABLE = "unreadable"
    """The store did not hand the file out."""


class Rejected(DataError):
    """A video that cannot be used, with its reason."""

    def __init__(self, reason: Reason, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"{detail} ({reason.value})")

    def __reduce__(self) -> tuple[object, ...]:
        return Rejected, (self.reason, self.detail)
