"""Which pictures the asked ones are decoded from, by the references that slice headers allow.

Between a key frame and a clip lie many pictures that others may refer to, and that no picture on
the way to the clip does: the middle B-frame of each pyramid, where the encoder searched one
reference. They need not be decoded. H.264 only.

A decoder sees a picture that is left out as a gap in frame_num, and puts a stand-in with its number
into its buffer (ITU-T H.264 8.2.5.2). What is left out may also have ended other references. So the
buffer is followed twice, as it is and with stand-ins, and the lists of all that matters must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vidgen.data.bits import View, framing
from vidgen.data.h264 import ParameterSets, Slice, Unknown

_APART = 8  # references left out in a row; frame_num repeats after 16 or more
_ENOUGH, _WORTH = 500, 0.04  # pictures to judge by; share to spare that pays for looking


@dataclass(eq=False)
class _Picture:
    """A picture, or a stand-in without slices.

    Attributes:
        at: its place in the run.
        order: picture order count.
        buffer: references that were there when it was decoded, the oldest first.
        fixed: it has to be decoded whatever refers to it.
    """

    at: int
    number: int  # frame_num
    slices: list[Slice]
    order: int
    buffer: list[_Picture]
    fixed: bool = False

    @property
    def two_way(self) -> bool:
        return any(each.kind == "B" for each in self.slices)


class References:
    """Follows references through runs of packets of one stream.

    Args:
        extradata: the container's parameter sets.
    """

    def __init__(self, extradata: bytes) -> None:
        self._extradata = extradata
        self._units = framing("h264", extradata)
        self._seen = self._spared = 0

    def needed(self, packets: Sequence[View], asked: set[int]) -> set[int] | None:
        """The packets to decode, so that those asked come out as if all were decoded.

        Args:
            packets: in decoding order, from one that starts with nothing before it.
            asked: their places.

        Returns:
            Their places, or None where references cannot be followed, or hardly ever spare one.
        """
        if self._seen > _ENOUGH and self._spared < _WORTH * self._seen:
            return None
        if not asked:
            return set()
        try:
            heads = self._heads(packets, asked)
            pictures = {picture.at: picture for picture in _decode(heads)}
            wanted = _closure(pictures, asked)
            kept = _kept(list(pictures.values()), wanted)
            alone = _decode([head for head in heads if head.at in kept])
            same = all(_agree(each, pictures[each.at]) for each in alone if each.at in wanted)
        except Unknown:
            return None
        self._seen += len(heads)
        self._spared += len(heads) - len(kept) if same else 0
        return kept if same else None

    def _heads(self, packets: Sequence[View], asked: set[int]) -> list[_Picture]:
        """Pictures before anything is known but their slices; those that nobody needs left out."""
        sets = ParameterSets(self._extradata)
        found: list[_Picture] = []
        for at, packet in enumerate(packets):
            slices: list[Slice] = []
            inside = False
            for unit in self._units(packet):
                kind = unit[0] & 31
                if kind in (1, 5):
                    if not unit[0] & 0x60 and at not in asked and not inside:
                        break  # nal_ref_idc is the same in all slices of a picture
                    slices.append(sets.slice(unit))
                elif kind in (2, 3, 4):  # data partitions
                    raise Unknown
                elif kind in (7, 8, 13, 15):
                    sets.take(unit)
                    inside = True
            else:
                if not slices or any(each.picture != slices[0].picture for each in slices[1:]):
                    raise Unknown
                found.append(_Picture(at, slices[0].frame_num, slices, 0, [], inside))
        return found


def _decode(heads: list[_Picture]) -> list[_Picture]:
    """What a decoder's buffer of references is when it comes to each of these pictures."""
    found: list[_Picture] = []
    buffer: list[_Picture] = []
    reference: _Picture | None = None
    for seen in heads:
        head = seen.slices[0]
        if head.idr:
            buffer, reference = [], None
        elif not found:
            raise Unknown  # what came before is not here
        else:
            number = found[-1].number
            while seen.number not in (number, (number + 1) % head.sequence.frame_nums):
                number = (number + 1) % head.sequence.frame_nums
                _add(buffer, _Picture(-1, number, [], 0, []), head)
        order = _order(head, reference)
        picture = _Picture(
            seen.at, seen.number, seen.slices, order, list(buffer), seen.fixed or head.idr
        )
        found.append(picture)
        if head.reference:
            for by in head.dropped or ():
                gone = (seen.number - by) % head.sequence.frame_nums
                buffer = [each for each in buffer if each.number != gone]
            _add(buffer, picture, head)
            reference = picture
    return found


def _add(buffer: list[_Picture], picture: _Picture, head: Slice) -> None:
    """Take in a reference; the oldest goes when there are too many (8.2.5.3)."""
    buffer.append(picture)
    del buffer[: -max(1, head.sequence.references)]


def _order(head: Slice, before: _Picture | None) -> int:
    """Picture order count (8.2.1.1), from that of the reference decoded before it."""
    size = 1 << head.sequence.poc_bits
    top = 0 if before is None else before.order - min(0, before.slices[0].bottom_delta)
    earlier = top % size
    high = top - earlier
    if earlier - head.poc_lsb >= size // 2:
        high += size
    elif head.poc_lsb - earlier > size // 2:
        high -= size
    return high + head.poc_lsb + min(0, head.bottom_delta)


def _lists(head: Slice, picture: _Picture) -> list[list[_Picture]]:
    """Its reference lists (8.2.4)."""
    buffer, order = picture.buffer, picture.order
    lists: list[list[_Picture]] = []
    if head.kind == "P":
        lists = [buffer[::-1]]
    elif head.kind == "B":
        past = sorted((p for p in buffer if p.order < order), key=lambda p: -p.order)
        future = sorted((p for p in buffer if p.order > order), key=lambda p: p.order)
        lists = [past + future, future + past]
        if len(buffer) > 1 and lists[0] == lists[1]:
            lists[1][:2] = lists[1][1::-1]
    for which, (length, changes) in enumerate(zip(head.lists, head.changes, strict=True)):
        number = head.frame_num
        for place, (operation, by) in enumerate(changes):
            number = (number + (by if operation else -by)) % head.sequence.frame_nums
            moved = next((each for each in buffer if each.number == number), None)
            if moved is None:
                raise Unknown
            rest = [each for each in lists[which][place:] if each is not moved]
            lists[which] = [*lists[which][:place], moved, *rest]
        if length:
            del lists[which][length:]
    return lists


def _closure(pictures: dict[int, _Picture], asked: set[int]) -> set[int]:
    """Places of what is asked and of all that it is decoded from. Raises Unknown."""
    seen, left = set(asked), list(asked)
    while left:
        picture = pictures[left.pop()]
        for head in picture.slices:
            for each in (entry for entries in _lists(head, picture) for entry in entries):
                if each.at < 0:
                    raise Unknown  # a gap already
                if each.at not in seen:
                    seen.add(each.at)
                    left.append(each.at)
    return seen


def _kept(pictures: list[_Picture], wanted: set[int]) -> set[int]:
    """Places of what is wanted, and of what puts the buffer in order for B slices and numbers.

    Lists of B slices go by output order, which a stand-in does not know. So all references are kept
    from as many before the first B-frame as the buffer holds, and it has none when that comes.
    """
    kept = wanted | {picture.at for picture in pictures if picture.fixed}
    first = next((i for i, p in enumerate(pictures) if p.at in wanted and p.two_way), len(pictures))
    held = pictures[0].slices[0].sequence.references
    row = 0
    for index in range(len(pictures) - 1, -1, -1):
        picture = pictures[index]
        if not picture.slices[0].reference:
            continue
        if index < first:
            held -= 1
        if (held >= 0 and first < len(pictures)) or row == _APART:
            kept.add(picture.at)
        row = 0 if picture.at in kept else row + 1
    return kept


def _agree(picture: _Picture, truth: _Picture) -> bool:
    """Whether it is decoded from the same pictures in both."""
    if picture.two_way and any(each.at < 0 for each in picture.buffer):
        return False
    if picture.order != truth.order:
        return False
    return all(
        [each.at for each in mine[: len(real)]] == [each.at for each in real]
        for head in picture.slices
        for mine, real in zip(_lists(head, picture), _lists(head, truth), strict=True)
    )
