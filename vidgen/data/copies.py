"""Clips that the data set has already: the same frames, or nearly the same of another source."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from vidgen.config.prepare import PrepareOptions
from vidgen.data.alike import Groups, near_duplicates
from vidgen.data.cut import Record
from vidgen.data.manifest import Reject
from vidgen.data.reasons import Reason


@dataclass(kw_only=True)
class Copies:
    """What is left out.

    Attributes:
        rejects: a line for each clip that is.
        counts: of them, by reason.
        sources: which sources share clips, left out or not.
    """

    rejects: list[Reject] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    sources: Groups = field(default_factory=Groups)
    _left: set[tuple[str, float]] = field(default_factory=set)

    def clips(self, item: Record) -> list[dict[str, Any]]:
        """The clips of a source that stay."""
        return [clip for clip in item.clips if (item.source, clip["start_s"]) not in self._left]

    def kept(self, item: Record) -> bool:
        return bool(self.clips(item))

    def leave_out(self, clip: dict[str, Any], other: dict[str, Any], reason: Reason) -> None:
        self._left.add((clip["source"], clip["start_s"]))
        self.counts[reason.value] += 1
        detail = f"{_name(clip)} shows the same as {_name(other)}"
        self.rejects.append(
            Reject(source=clip["source"], reason=reason, detail=detail, start_s=clip["start_s"])
        )

    def is_left_out(self, clip: dict[str, Any]) -> bool:
        return (clip["source"], clip["start_s"]) in self._left


def find_copies(records: list[Record], options: PrepareOptions) -> Copies:
    """Of clips that agree the first stays, in order of source and time.

    Clips of one source that nearly agree all stay: a camera that stands still is no copy.
    """
    found = Copies()
    if options.duplicates == "keep":
        return found
    clips = [clip for item in sorted(records, key=lambda item: item.source) for clip in item.clips]
    first: dict[str, dict[str, Any]] = {}
    for clip in clips:
        other = first.setdefault(clip["sha256"], clip)
        if other is not clip:
            found.sources.join(clip["source"], other["source"])
            found.leave_out(clip, other, Reason.DUPLICATE)
    if options.duplicates == "exact":
        return found
    rest = [clip for clip in clips if not found.is_left_out(clip)]
    for a, b in sorted(near_duplicates([clip["alike"] for clip in rest])):
        one, other = rest[a], rest[b]
        if one["source"] == other["source"]:
            continue
        found.sources.join(one["source"], other["source"])
        if not found.is_left_out(one) and not found.is_left_out(other):
            found.leave_out(other, one, Reason.NEAR_DUPLICATE)
    return found


def _name(clip: dict[str, Any]) -> str:
    return f"{clip['source']} at {clip['start_s']:g} s"
