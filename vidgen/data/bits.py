"""Units of H.264 and H.265 packets, and the bits at their front.

ITU-T H.264 7.2, 7.4.1, 9.1 and annex B.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

View = memoryview

_START = b"\0\0\1"


def framing(codec: str, extradata: bytes) -> Callable[[View], Iterator[View]]:
    """How the units of a packet are told apart: by start codes, or by length fields."""
    if extradata[:1] == b"\1" and codec in ("h264", "hevc"):
        at = 4 if codec == "h264" else 21
        if len(extradata) > at:
            width = (extradata[at] & 3) + 1
            return lambda packet: _by_length(packet, width)
    return by_start_code


def _by_length(packet: View, width: int) -> Iterator[View]:
    at, end = 0, len(packet)
    while at + width + 2 <= end:
        length = int.from_bytes(packet[at : at + width], "big")
        at += width
        if length >= 2:
            yield packet[at : at + length]
        at += length


def by_start_code(packet: View) -> Iterator[View]:
    data = bytes(packet)
    at = data.find(_START)
    while at >= 0:
        following = data.find(_START, at + 3)
        unit = packet[at + 3 : following if following >= 0 else len(data)]
        if len(unit) >= 2:
            yield unit
        at = following


class Bits:
    """Bits from the front of a unit; zeros past its end."""

    def __init__(self, data: bytes, *, escaped: bool = True) -> None:
        data = data.replace(b"\0\0\3", b"\0\0") if escaped else data
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    @property
    def spent(self) -> bool:
        """Whether its end was reached: what was read last may be wrong."""
        return self._left <= 0

    def u(self, count: int) -> int:
        """u(n)"""
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1) if self._left >= 0 else 0

    def ue(self) -> int:
        """ue(v)"""
        if self._left <= 0:
            return 0
        rest = self._value & ((1 << self._left) - 1)
        after = 2 * rest.bit_length() - self._left - 1  # as many zeros in front as bits behind a 1
        if after < 0:
            self._left = 0
            return 0
        self._left = after
        return (rest >> after) - 1

    def se(self) -> int:
        """se(v)"""
        code = self.ue()
        return (code + 1) // 2 if code % 2 else -(code // 2)
