"""Where a study's videos come from: an evaluated run, or a folder of videos."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

from vidgen.config.run import StorageConfig
from vidgen.errors import ConfigError, EvaluationError, NotFoundInStore
from vidgen.storage.base import Store
from vidgen.storage.open import open_store
from vidgen.storage.run_folder import EVAL, RunFolder

GENERATED = "generated.json"  # what `vidgen generate` leaves beside its videos
TYPES = {".mp4": "video/mp4", ".webm": "video/webm"}  # that browsers play
REAL = "real"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One video.

    Attributes:
        item: what it was asked to show; equal for videos of two systems that compare.
        caption: shown to the rater; may be empty.
        key: its file in the store.
    """

    item: str
    caption: str
    store: Store
    key: str

    def read(self) -> bytes:
        return self.store.read(self.key)

    @property
    def media_type(self) -> str:
        return TYPES[self.key[self.key.rindex(".") :].lower()]


@dataclass(frozen=True, kw_only=True)
class System:
    """One maker of videos: a model, or the real world."""

    name: str
    url: str
    items: list[Item]


def find_systems(
    sources: list[str], *, real: bool = False, storage: StorageConfig | None = None
) -> list[System]:
    """Open NAME=URL or URL sources; `real` adds the real clips of the first evaluated run.

    Raises:
        ConfigError: fewer than two systems, or two of one name.
        EvaluationError: a source without videos.
    """
    systems = [_open(source, storage) for source in sources]
    if real:
        systems.append(_real(systems, storage))
    names = Counter(system.name for system in systems)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        raise ConfigError(
            f"two of the sources are called '{twice[0]}'", fix="Name them: first=URL second=URL."
        )
    if len(systems) < 2:
        raise ConfigError(
            "a study compares at least two sources, got one",
            fix="Give another run or folder, or --real for the run's own real clips.",
        )
    return systems


def _open(source: str, storage: StorageConfig | None) -> System:
    name, separator, url = source.partition("=")
    if not separator or "/" in name:
        name, url = "", source
    store = open_store(url, storage)
    found = _items(store, url, storage)
    if not found:
        raise EvaluationError(
            f"{store.url} has no videos",
            expected="an evaluated run, or a folder of .mp4 or .webm files",
        )
    return System(name=name or store.url.rstrip("/").split("/")[-1], url=store.url, items=found)


def _items(store: Store, url: str, storage: StorageConfig | None) -> list[Item]:
    folder = RunFolder(url, storage)
    if folder.exists():
        return _evaluated(folder, "generated")
    try:
        record = json.loads(store.read(GENERATED))
    except NotFoundInStore:
        keys = [stat.key for stat in store.list() if _is_video(stat.key)]
        return [Item(item=key.rsplit(".", 1)[0], caption="", store=store, key=key) for key in keys]
    videos = [(v.get("caption", ""), v["file"]) for v in record["videos"]]
    return _numbered(store, [(caption, caption or file, file) for caption, file in videos])


def _evaluated(folder: RunFolder, which: str) -> list[Item]:
    try:
        clips: list[dict[str, Any]] = folder.read_json(EVAL)["clips"]
    except NotFoundInStore:
        raise EvaluationError(
            f"{folder.url} has no evaluated clips", fix=f"Run: vidgen evaluate {folder.url}"
        ) from None
    wanted = [(c.get("caption", ""), c.get("caption") or c["source"], c[which]) for c in clips]
    return _numbered(folder.store, wanted)


def _numbered(store: Store, wanted: list[tuple[str, str, str]]) -> list[Item]:
    """(caption, item, file) triples; the second video of an item is not the same as its first."""
    seen: Counter[str] = Counter()
    found = []
    for caption, item, key in wanted:
        seen[item] += 1
        number = f" ({seen[item]})" if seen[item] > 1 else ""
        found.append(Item(item=item + number, caption=caption, store=store, key=key))
    return found


def _real(systems: list[System], storage: StorageConfig | None) -> System:
    for system in systems:
        folder = RunFolder(system.url, storage)
        if folder.exists():
            return System(name=REAL, url=system.url, items=_evaluated(folder, "real"))
    raise ConfigError(
        "--real shows the real clips of an evaluated run, and none of the sources is one",
        fix="Give the folder of real clips as a source instead: real=FOLDER.",
    )


def _is_video(key: str) -> bool:
    return any(key.lower().endswith(ending) for ending in TYPES)
