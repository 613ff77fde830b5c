"""Encoded clips in large objects, and the packet index by which they are read.

    packs/<hash>.clips     clips of many sources, one MP4 after the other; never changed
    packs/contents.json    where the clips of each source are
    packets/00000.parquet  the packet index of clips 0 to 1023

A pack is called by the hash of what is in it, so that one of the same clips need not be written
again, and what was read of it stays true.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from vidgen.data.cut import Record, clips_key, index_key
from vidgen.data.index_file import read_index, write_index
from vidgen.data.packets import Source
from vidgen.errors import NotFoundInStore
from vidgen.storage.base import Store

FOLDER = "packs/"
_CONTENTS = f"{FOLDER}contents.json"
_BYTES = 256 * 1024**2  # of a pack: many clips per object, few seconds per upload
_CHUNK = 8 * 1024**2


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the clips of a source are: key of the object, first byte, bytes."""

    key: str
    start: int
    size: int


def places(dest: Store, records: Iterable[Record]) -> dict[str, Place]:
    """Where the encoded clips of each source are now: waiting, or in a pack of an earlier run.

    Sources whose clips are not there are left out.
    """
    packed = _contents(dest)
    waiting = {stat.key: stat.size for stat in dest.list(clips_key("")[:6])}
    found: dict[str, Place] = {}
    for item in records:
        key = clips_key(item.source)
        if waiting.get(key) == item.part_bytes:
            found[item.source] = Place(key=key, start=0, size=item.part_bytes)
        elif item.part in packed:
            found[item.source] = packed[item.part]
    return found


def pack(dest: Store, records: Sequence[Record]) -> dict[str, Place]:
    """Put the clips of these sources into packs; returns where each source's are.

    Every one of them must be in `places`.
    """
    now = places(dest, records)
    parts: dict[str, Record] = {}  # by hash: sources with the very same clips share them
    for item in sorted(records, key=lambda item: item.source):
        parts.setdefault(item.part, item)
    there = {stat.key: stat.size for stat in dest.list(FOLDER)}
    contents: dict[str, Place] = {}
    for group in _groups(parts.values()):
        digest = hashlib.sha256("".join(item.part for item in group).encode()).hexdigest()
        key = f"{FOLDER}{digest[:32]}.clips"
        if there.get(key) != sum(item.part_bytes for item in group):
            _write(dest, key, [now[item.source] for item in group])
        start = 0
        for item in group:
            contents[item.part] = Place(key=key, start=start, size=item.part_bytes)
            start += item.part_bytes
    lines = {part: dataclasses.astuple(place) for part, place in sorted(contents.items())}
    dest.write(_CONTENTS, (json.dumps(lines, indent=0) + "\n").encode())
    return {item.source: contents[item.part] for item in records}


def number(dest: Store, records: Sequence[Record], packed: dict[str, Place]) -> dict[str, int]:
    """Write the data set's packet index; returns the number of each source's first clip, or of the
    source itself where its clips stay in it."""
    ordered = sorted(records, key=lambda item: item.source)
    numbers: dict[str, int] = {}

    def sources() -> Iterator[Source]:
        count = 0
        with ThreadPoolExecutor(16) as pool:
            for at in range(0, len(ordered), 256):  # never more than these in memory
                group = ordered[at : at + 256]
                keys = [index_key(item.source) for item in group]
                for item, data in zip(group, pool.map(dest.read, keys), strict=True):
                    numbers[item.source] = count
                    for source in read_index(data):
                        count += 1
                        yield _moved(source, packed.get(item.source))

    write_index(dest, sources())
    return numbers


def used(packed: dict[str, Place]) -> set[str]:
    """Keys below packs/ that are needed."""
    return {place.key for place in packed.values()} | ({_CONTENTS} if packed else set())


def _moved(source: Source, place: Place | None) -> Source:
    if place is None:
        return source
    packets = dataclasses.replace(source.packets, offset=source.packets.offset + place.start)
    # The name says what is in a pack: there is no other version of it to be told apart.
    return dataclasses.replace(source, key=place.key, size=0, etag="", packets=packets)


def _contents(dest: Store) -> dict[str, Place]:
    """By hash of a source's clips; only packs that are whole."""
    try:
        lines = json.loads(dest.read(_CONTENTS))
    except NotFoundInStore:
        return {}
    sizes = {stat.key: stat.size for stat in dest.list(FOLDER)}
    found = {part: Place(key=k, start=s, size=n) for part, (k, s, n) in lines.items()}
    return {
        part: place
        for part, place in found.items()
        if place.start + place.size <= sizes.get(place.key, 0)
    }


def _groups(parts: Iterable[Record]) -> Iterator[list[Record]]:
    """In order, up to the size of a pack."""
    group: list[Record] = []
    size = 0
    for item in parts:
        if group and size + item.part_bytes > _BYTES:
            yield group
            group, size = [], 0
        group.append(item)
        size += item.part_bytes
    if group:
        yield group


def _write(dest: Store, key: str, sources: list[Place]) -> None:
    """One object of many pieces."""

    def fetch(place: Place) -> bytes:
        return dest.read_range(place.key, place.start, place.size)

    with tempfile.TemporaryDirectory(prefix="vidgen-") as folder:
        path = Path(folder) / "pack"
        with path.open("wb") as file, ThreadPoolExecutor(8) as pool:
            small = [place for place in sources if place.size <= _CHUNK]
            if len(small) == len(sources):
                for at in range(0, len(sources), 16):
                    for data in pool.map(fetch, sources[at : at + 16]):
                        file.write(data)
            else:
                for place in sources:
                    for start in range(place.start, place.start + place.size, _CHUNK):
                        length = min(_CHUNK, place.start + place.size - start)
                        file.write(dest.read_range(place.key, start, length))
        dest.write(key, path)
