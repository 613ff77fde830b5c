"""Captions and labels: captions.csv at SRC, a sidecar x.json or x.txt beside x.mp4, or folders."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal

from vidgen.data.manifest import SPLITS
from vidgen.errors import DataError, did_you_mean
from vidgen.storage.base import Store

TABLE = "captions.csv"
_FIELDS = ("caption", "label", "scene", "action", "objects", "split", "group")
_ALSO = {"object": "objects"}  # other names of fields
_SPLIT_NAMES = {
    **{name: name for name in SPLITS},
    "valid": "val",
    "validation": "val",
    "dev": "val",
}


@dataclass(frozen=True, kw_only=True)
class Note:
    """What is written about a source.

    Attributes:
        caption, label: empty if not given.
        scene, action, objects: further labels; empty if not given.
        split: train, val or test if the user decided; else empty.
        group: sources of one group go into one split; empty: the source alone.
        extra: further columns.
    """

    caption: str = ""
    label: str = ""
    scene: str = ""
    action: str = ""
    objects: str = ""
    split: str = ""
    group: str = ""
    extra: dict[str, Any] = field(default_factory=dict)

    def or_else(self, other: Note) -> Note:
        """This note, with what it does not say taken from `other`."""
        told = {name: getattr(self, name) or getattr(other, name) for name in _FIELDS}
        return Note(**told, extra={**other.extra, **self.extra})


def read_notes(src: Store, videos: Iterable[str], others: list[str]) -> dict[str, Note]:
    """Notes by source key; sources without any are absent. captions.csv goes before sidecars.

    Raises DataError, with file and line, for a table or sidecar that cannot be understood.
    """
    beside = set(others)
    sidecars: list[tuple[str, str]] = []
    for video in videos:
        path = PurePosixPath(video)
        for suffix in (".json", ".txt"):
            name = str(path.with_suffix(suffix))
            if path.suffix and name in beside:
                sidecars.append((video, name))
    notes = _read_table(src) if TABLE in beside else {}
    with ThreadPoolExecutor(16) as pool:
        for (video, _), note in zip(
            sidecars, pool.map(lambda pair: _read_sidecar(src, pair[1]), sidecars), strict=True
        ):
            notes[video] = notes.get(video, Note()).or_else(note)
    return notes


def label_by_folder(
    notes: dict[str, Note], videos: Iterable[str], how: Literal["auto", "always", "never"]
) -> dict[str, Note]:
    """Notes in which videos without a label have the name of the folder they lie in.

    "auto" does so where nobody wrote a label down and every video lies in one of several folders.
    """
    folders = {video: PurePosixPath(video).parent.name for video in videos}
    named = set(folders.values())
    if how == "never" or (
        how == "auto"
        and (any(note.label for note in notes.values()) or "" in named or len(named) < 2)
    ):
        return notes
    labels = {video: Note(label=name) for video, name in folders.items() if name}
    return {
        video: notes.get(video, Note()).or_else(labels.get(video, Note()))
        for video in {**notes, **labels}
    }


def _read_table(src: Store) -> dict[str, Note]:
    where = src.where(TABLE)
    reader = csv.DictReader(io.StringIO(_text(src, TABLE), newline=""))
    columns = reader.fieldnames or []
    if "file" not in columns:
        raise DataError(
            f"{where}: no column 'file'{did_you_mean('file', columns)}",
            expected=f"a header line with 'file' and any of {', '.join(_FIELDS)}",
        )
    notes: dict[str, Note] = {}
    for row in reader:
        line = f"{where}:{reader.line_num}"
        key = (row.get("file") or "").strip().removeprefix("./")
        if None in row or not key:
            raise DataError(f"{line}: {'no file name' if not key else 'more cells than columns'}")
        if key in notes:
            raise DataError(f"{line}: '{key}' is listed twice")
        notes[key] = _note({name: row[name] or "" for name in columns if name != "file"}, line)
    return notes


def _read_sidecar(src: Store, key: str) -> Note:
    text, where = _text(src, key).strip(), src.where(key)
    if key.endswith(".txt"):
        return Note(caption=" ".join(text.split()))
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{where}:{error.lineno}: not valid JSON: {error.msg}") from None
    if not isinstance(values, dict):
        raise DataError(f"{where}: not a JSON object", expected='{"caption": ..., "label": ...}')
    return _note(values, where)


def _note(values: dict[str, Any], where: str) -> Note:
    for name, field_name in _ALSO.items():
        if name in values:
            values.setdefault(field_name, values.pop(name))
    known = {name: values.pop(name, "") for name in _FIELDS}
    if isinstance(known["objects"], list):
        known["objects"] = ", ".join(map(str, known["objects"]))
    for name, value in known.items():
        if not isinstance(value, str):
            raise DataError(f"{where}: '{name}' is {value!r}", expected="text")
    known = {name: " ".join(value.split()) for name, value in known.items()}
    if known["split"] and known["split"] not in _SPLIT_NAMES:
        raise DataError(
            f"{where}: split '{known['split']}'{did_you_mean(known['split'], _SPLIT_NAMES)}",
            expected=f"one of {', '.join(SPLITS)}, or nothing",
        )
    known["split"] = _SPLIT_NAMES.get(known["split"], "")
    return Note(**known, extra=values)


def _text(src: Store, key: str) -> str:
    try:
        return src.read(key).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{src.where(key)} is not UTF-8 text: {error.reason}") from None
