"""Which files below SRC are videos: by probing, the extension is only a hint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from vidgen.data.manifest import Reject
from vidgen.data.reasons import Reason
from vidgen.errors import DataError, NotFoundInStore, StorageError
from vidgen.storage.base import Stat, Store, check_key
from vidgen.storage.local import LocalStore

_VIDEO = frozenset(
    {".3g2", ".3gp", ".asf", ".avi", ".divx", ".f4v", ".flv", ".gif", ".ivf", ".m2ts", ".m4v"}
    | {".mj2", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogg", ".ogv"}
    | {".qt", ".ts", ".vob", ".webm", ".wmv"}
)
_OTHER = frozenset(  # not worth opening
    {".csv", ".json", ".jsonl", ".txt", ".md", ".html", ".xml", ".yaml", ".yml", ".srt", ".vtt"}
    | {".parquet", ".npy", ".npz", ".pt", ".zip", ".tar", ".gz", ".pdf", ".log", ".py", ".sh"}
    | {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".svg", ".wav", ".mp3", ".flac"}
    | {".aac", ".m4a"}
)


@dataclass(frozen=True, kw_only=True)
class Found:
    """The files below SRC.

    Attributes:
        videos: what to decode; a file without a video's extension may turn out to be none.
        rejects: what claims to be a video and cannot be opened at all.
        skipped: how many files are something else.
        others: their keys, for captions.
    """

    videos: list[Stat]
    rejects: list[Reject]
    skipped: int
    others: list[str]


def claims_video(key: str) -> bool:
    """Whether the name says that this is a video."""
    return PurePosixPath(key).suffix.lower() in _VIDEO


def find_sources(src: Store, *, leave_out: Store) -> Found:
    """Sort the files below SRC; those below `leave_out` (DEST, if it is inside) do not count.

    Raises NotFoundInStore or DataError if SRC is missing, no folder, or has no candidate.
    """
    if isinstance(src, LocalStore) and not src.root.is_dir():
        if src.root.exists():
            raise DataError(f"{src.url} is a file", expected="a folder of videos")
        raise NotFoundInStore(f"{src.url} does not exist", fix="Give a folder of videos or s3://.")
    inside = leave_out.url.removeprefix(src.url).lstrip("/") + "/"
    if leave_out.url == src.url:
        raise DataError(f"SRC and DEST are both {src.url}", fix="Prepare into another folder.")
    if not leave_out.url.startswith(src.url + "/"):
        inside = "//"  # no key starts like this
    videos, rejects, others = [], [], []
    for stat in src.list():
        if stat.key.startswith(inside):
            continue
        suffix = PurePosixPath(stat.key).suffix.lower()
        if suffix in _OTHER or PurePosixPath(stat.key).name.startswith("."):
            others.append(stat.key)
        elif problem := _bad_name(src, stat.key):
            rejects.append(problem)
        else:
            videos.append(stat)
    skipped = len(others)
    for key in src.irregular() if isinstance(src, LocalStore) else ():
        if claims_video(key):
            detail = "a pipe, socket, device or link to nowhere"
            rejects.append(Reject(source=_shown(key), reason=Reason.NOT_A_FILE, detail=detail))
        else:
            skipped += 1
    if not videos and not rejects:
        raise no_video(src, skipped)
    return Found(videos=videos, rejects=rejects, skipped=skipped, others=others)


def no_video(src: Store, others: int) -> DataError:
    """The error for a SRC without a single video."""
    saw = f"{others} other files" if others else "no file at all"
    return DataError(f"no video in {src.url}: {saw}", fix="Give a folder with video files.")


def _bad_name(src: Store, key: str) -> Reject | None:
    """A reject for names that cannot be stored in a manifest or read back."""
    try:
        check_key(key, src.url)
        key.encode("utf-8")
    except (StorageError, UnicodeEncodeError):
        detail = "the name is not UTF-8, or has empty or '..' parts"
        return Reject(source=_shown(key), reason=Reason.BAD_NAME, detail=detail)
    return None


def _shown(key: str) -> str:
    return key.encode("utf-8", "replace").decode()
