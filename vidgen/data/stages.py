"""What each stage of prepare saw, kept, rejected and skipped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vidgen.data.cut import Record
from vidgen.data.manifest import StageCounts
from vidgen.data.reasons import Reason
from vidgen.data.sources import Found, claims_video

_PROBE = {
    *(Reason.EMPTY_FILE, Reason.NOT_VIDEO, Reason.TOO_MANY_PIXELS, Reason.TOO_SMALL),
    *(Reason.LOW_RATE, Reason.UNREADABLE, Reason.NOT_A_FILE, Reason.LETTERBOXED),
}
_CUT = {Reason.TOO_SHORT, Reason.CORRUPT}


def stages(found: Found, records: Iterable[Record], copies: Counter[str]) -> list[StageCounts]:
    """From all files to the clips of the data set.

    Args:
        copies: clips left out as duplicates, by reason.
    """
    records = list(records)
    whole = [(item.source, item.left[0]) for item in records if _is_whole(item)]
    unclaimed = sum(
        left.reason == Reason.NOT_VIDEO.value and not claims_video(source) for source, left in whole
    )
    at_probe = Counter(
        left.reason
        for source, left in whole
        if Reason(left.reason) in _PROBE
        and (left.reason != Reason.NOT_VIDEO.value or claims_video(source))
    )
    at_decode = Counter(left.reason for _, left in whole if Reason(left.reason) not in _PROBE)
    parts = [left for item in records if not _is_whole(item) for left in item.left]
    at_cut = Counter(left.reason for left in parts if Reason(left.reason) in _CUT)
    at_look = Counter(left.reason for left in parts if Reason(left.reason) not in _CUT)
    clips = sum(len(item.clips) for item in records)
    files = len(found.videos) + len(found.rejects) + found.skipped
    listed = Counter(reject.reason.value for reject in found.rejects)
    rows = [
        ("find", "files", files, listed, found.skipped),
        ("probe", "sources", len(records), at_probe, unclaimed),
        ("decode", "sources", len(records) - at_probe.total() - unclaimed, at_decode, 0),
        ("cut", "clips", clips + len(parts), at_cut, 0),
        ("quality", "clips", clips + at_look.total(), at_look, 0),
        ("duplicates", "clips", clips, copies, 0),
    ]
    return [
        StageCounts(
            stage=stage,
            of=of,
            seen=seen,
            kept=seen - reasons.total() - skipped,
            rejected=reasons.total(),
            skipped=skipped,
            reasons=dict(sorted(reasons.items())),
        )
        for stage, of, seen, reasons, skipped in rows
    ]


def _is_whole(item: Record) -> bool:
    """Whether the source was given up as one, rather than clip by clip."""
    return not item.clips and bool(item.left) and item.left[0].start_s is None
