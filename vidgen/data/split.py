"""Which source goes into train, val or test: whole sources, in exact proportions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from vidgen.data.alike import Groups
from vidgen.data.captions import Note
from vidgen.data.manifest import SPLITS
from vidgen.errors import DataError


def assign_splits(
    sources: Iterable[str],
    notes: Mapping[str, Note],
    *,
    shares: tuple[float, float, float],
    seed: int,
    alike: Groups | None = None,
) -> dict[str, str]:
    """Split of each source.

    Sources of one group stay together, and so do sources that share clips, which `alike` knows. A
    split that the user wrote down counts; the others are put in an order that depends on their
    names and the seed alone, and dealt out in proportion. From three on, val and test get at least
    one each if their share is not 0.

    Raises DataError if a group is written down for two splits.
    """
    groups: dict[str, list[str]] = {}
    together = Groups()
    sources = list(sources)
    for source in sources:
        # A group may be called like a file: keep the two kinds apart.
        group = notes[source].group if source in notes else ""
        if group:
            together.join(f"file {source}", f"group {group}")
        if alike is not None:
            together.join(f"file {source}", f"file {alike.find(source)}")
    for source in sources:
        groups.setdefault(together.find(f"file {source}"), []).append(source)
    chosen: dict[str, str] = {}
    for group, members in groups.items():
        given = {notes[m].split for m in members if m in notes} - {""}
        if len(given) > 1:
            raise DataError(f"{group} is in splits {' and '.join(sorted(given))}", expected="one")
        if given:
            chosen[group] = given.pop()
    free = sorted(groups.keys() - chosen.keys(), key=lambda name: _hash(seed, name))
    val, test = _sizes(len(free), shares, wanted=len(groups) >= 3, given=set(chosen.values()))
    for index, group in enumerate(free):
        chosen[group] = "val" if index < val else "test" if index < val + test else "train"
    return {member: chosen[group] for group, members in groups.items() for member in members}


def _sizes(
    free: int, shares: tuple[float, float, float], *, wanted: bool, given: set[str]
) -> tuple[int, int]:
    """How many of the free groups go to val and to test."""
    sizes = []
    for name, share in zip(SPLITS[1:], shares[1:], strict=True):
        least = 1 if wanted and share > 0 and name not in given else 0
        sizes.append(max(least, round(free * share)))
    keep = 1 if shares[0] > 0 and "train" not in given else 0  # train is never left empty
    while sum(sizes) > max(0, free - keep):
        sizes[sizes.index(max(sizes))] -= 1
    return sizes[0], sizes[1]


def _hash(seed: int, name: str) -> bytes:
    return hashlib.sha256(f"{seed}\0{name}".encode()).digest()
