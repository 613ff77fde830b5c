"""Parameter sets and slice headers of H.264: what they say about references (ITU-T H.264 7.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from vidgen.data.bits import Bits, View, by_start_code

_CHROMA_PROFILES = {100, 110, 122, 244, 44, 83, 86, 118, 128, 134, 135, 138, 139}
_KINDS = {0: "P", 1: "B", 2: "I"}
_HEADERS = (25, 400)  # bytes that hold nearly all slice headers, and all


class Unknown(Exception):
    """A stream of a kind that is not followed here: fields, slice groups, long-term references."""


@dataclass(frozen=True, kw_only=True)
class Sequence:
    """Of a sequence parameter set (7.3.2.1)."""

    chroma: int
    planes: bool  # separate colour planes
    frame_num_bits: int
    poc_bits: int
    references: int

    @property
    def frame_nums(self) -> int:
        return 1 << self.frame_num_bits


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Of a picture parameter set (7.3.2.2)."""

    sequence: int
    bottom_delta: bool
    lists: tuple[int, int]  # usual lengths
    weighted: bool
    weighted_b: bool
    redundant: bool


class Slice(NamedTuple):
    """Of a slice header (7.3.3).

    Attributes:
        kind: P, B or I.
        poc_lsb, bottom_delta: of its picture order count.
        lists: entries of list 0 and list 1.
        changes: per list, (operation, value) of its modifications.
        dropped: differences of picture numbers that stop being references; None: the oldest goes.
    """

    sequence: Sequence
    kind: str
    idr: bool
    reference: bool
    frame_num: int
    poc_lsb: int
    bottom_delta: int
    lists: tuple[int, int]
    changes: tuple[list[tuple[int, int]], list[tuple[int, int]]]
    dropped: list[int] | None

    @property
    def picture(self) -> tuple[object, ...]:
        """Is the same for all slices of a picture."""
        return (
            self.sequence, self.idr, self.reference, self.frame_num, self.poc_lsb, self.bottom_delta
        )  # fmt: skip


class ParameterSets:
    """The sets that slices name; more may come inside of packets."""

    def __init__(self, extradata: bytes) -> None:
        self._sequences: dict[int, Sequence] = {}
        self._pictures: dict[int, PictureSet] = {}
        for unit in _units(extradata):
            self.take(unit)

    def take(self, unit: View) -> None:
        """Remember it if it is a parameter set."""
        if unit[0] & 31 == 7:
            number, sequence = _sequence(Bits(bytes(unit[1:])))
            self._sequences[number] = sequence
        elif unit[0] & 31 == 8:
            number, picture = _picture(Bits(bytes(unit[1:])))
            self._pictures[number] = picture

    def slice(self, unit: View) -> Slice:
        """Raises Unknown where it cannot be followed."""
        for size in _HEADERS:
            bits = Bits(bytes(unit[1:size]))
            try:
                found = self._slice(bits, idr=unit[0] & 31 == 5, reference=bool(unit[0] & 0x60))
            except Unknown:
                if not bits.spent:
                    raise
            else:
                if not bits.spent:
                    return found
        raise Unknown

    def _slice(self, bits: Bits, *, idr: bool, reference: bool) -> Slice:
        bits.ue()  # first_mb_in_slice
        kind = _KINDS.get(bits.ue() % 5)
        picture = self._pictures.get(bits.ue())
        if kind is None or picture is None or picture.sequence not in self._sequences:
            raise Unknown
        sequence = self._sequences[picture.sequence]
        if sequence.planes:
            bits.u(2)
        frame_num = bits.u(sequence.frame_num_bits)
        if idr:
            bits.ue()  # idr_pic_id
        poc_lsb = bits.u(sequence.poc_bits)
        bottom_delta = bits.se() if picture.bottom_delta else 0
        if picture.redundant and bits.ue():
            raise Unknown
        if kind == "B":
            bits.u(1)  # direct_spatial_mv_pred_flag
        lists = (0, 0) if kind == "I" else picture.lists
        if kind != "I" and bits.u(1):  # num_ref_idx_active_override_flag
            lists = bits.ue() + 1, bits.ue() + 1 if kind == "B" else 0
        if kind == "P":
            lists = lists[0], 0
        changes0 = _changes(bits) if lists[0] else []
        changes1 = _changes(bits) if lists[1] else []
        if picture.weighted if kind == "P" else picture.weighted_b and kind == "B":
            _skip_weights(bits, lists, colour=sequence.chroma != 0 and not sequence.planes)
        dropped = _marking(bits, idr) if reference else None
        if max(lists) > 32:
            raise Unknown
        return Slice(
            sequence=sequence,
            kind=kind,
            idr=idr,
            reference=reference,
            frame_num=frame_num,
            poc_lsb=poc_lsb,
            bottom_delta=bottom_delta,
            lists=lists,
            changes=(changes0, changes1),
            dropped=dropped,
        )


def _units(extradata: bytes) -> list[View]:
    """Parameter sets of avcC (ISO 14496-15 5.3.3.1), or between start codes."""
    view = memoryview(extradata)
    if extradata[:1] != b"\1":
        return list(by_start_code(view))
    found: list[View] = []
    at = 5
    for mask in (31, 255):
        count, at = view[at] & mask if at < len(view) else 0, at + 1
        for _ in range(count):
            length = int.from_bytes(view[at : at + 2], "big")
            if length < 2 or at + 2 + length > len(view):
                raise Unknown
            found.append(view[at + 2 : at + 2 + length])
            at += 2 + length
    return found


def _sequence(bits: Bits) -> tuple[int, Sequence]:
    profile = bits.u(8)
    bits.u(16)
    number = bits.ue()
    chroma, planes = 1, False
    if profile in _CHROMA_PROFILES:
        chroma = bits.ue()
        planes = chroma == 3 and bool(bits.u(1))
        bits.ue(), bits.ue(), bits.u(1)
        if bits.u(1):  # seq_scaling_matrix_present_flag
            for matrix in range(12 if chroma == 3 else 8):
                if bits.u(1):
                    _skip_scaling(bits, 16 if matrix < 6 else 64)
    frame_num_bits = bits.ue() + 4
    if bits.ue():  # pic_order_cnt_type: the others have no pictures out of order
        raise Unknown
    poc_bits = bits.ue() + 4
    references = bits.ue()
    gaps = bits.u(1)
    bits.ue(), bits.ue()  # size
    frames_only = bits.u(1)
    if gaps or not frames_only or bits.spent or max(frame_num_bits, poc_bits, references) > 16:
        raise Unknown
    return number, Sequence(
        chroma=chroma,
        planes=planes,
        frame_num_bits=frame_num_bits,
        poc_bits=poc_bits,
        references=references,
    )


def _skip_scaling(bits: Bits, size: int) -> None:
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.se()) % 256
        last = following or last


def _picture(bits: Bits) -> tuple[int, PictureSet]:
    number, sequence = bits.ue(), bits.ue()
    bits.u(1)  # entropy_coding_mode_flag
    bottom_delta = bool(bits.u(1))
    if bits.ue():  # num_slice_groups_minus1
        raise Unknown
    lists = bits.ue() + 1, bits.ue() + 1
    weighted, weighted_b = bool(bits.u(1)), bits.u(2) == 1
    bits.se(), bits.se(), bits.se(), bits.u(2)  # quantisers, deblocking, intra prediction
    redundant = bool(bits.u(1))
    if bits.spent:
        raise Unknown
    return number, PictureSet(
        sequence=sequence,
        bottom_delta=bottom_delta,
        lists=lists,
        weighted=weighted,
        weighted_b=weighted_b,
        redundant=redundant,
    )


def _changes(bits: Bits) -> list[tuple[int, int]]:
    """Modifications of a reference list (7.3.3.1)."""
    found: list[tuple[int, int]] = []
    if bits.u(1):
        while (operation := bits.ue()) != 3:
            if operation > 1 or len(found) > 32 or bits.spent:
                raise Unknown
            found.append((operation, bits.ue() + 1))
    return found


def _skip_weights(bits: Bits, lists: tuple[int, int], *, colour: bool) -> None:
    """7.3.3.2"""
    bits.ue()
    if colour:
        bits.ue()
    for _ in range(min(sum(lists), 64)):
        if bits.u(1):
            bits.se(), bits.se()
        if colour and bits.u(1):
            bits.se(), bits.se(), bits.se(), bits.se()


def _marking(bits: Bits, idr: bool) -> list[int] | None:
    """Of which references it ends (7.3.3.3); None: of the oldest, when there are too many."""
    if idr:
        if bits.u(2) & 1:  # long_term_reference_flag
            raise Unknown
        return None
    if not bits.u(1):
        return None
    found: list[int] = []
    while operation := bits.ue():
        if operation != 1 or len(found) > 32 or bits.spent:
            raise Unknown
        found.append(bits.ue() + 1)
    return found
