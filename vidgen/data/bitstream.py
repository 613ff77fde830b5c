"""What a packet says about itself before it is decoded: needed by others, shown, a place to start.

Only the first bytes of each picture are read. Where a codec is not known here the answers are the
careful ones: needed, shown, and as good a start as its container says.

ITU-T H.264 7.3.1, 7.4.1, D.1.8; H.265 7.4.2.2; H.263 5.1; ISO 14496-2 6.2.5 (MPEG-4), 13818-2 6.3.9
(MPEG-2); RFC 6386 9.1 (VP8); VP9 and AV1 bitstream specifications, uncompressed headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

View = memoryview

_START = b"\0\0\1"


class Bitstream:
    """Reads packets of one stream.

    Args:
        codec: FFmpeg's name.
        extradata: the container's parameter sets; they tell how units are separated.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._units = _framing(codec, extradata)
        # Pictures of the highest temporal layer only are free of references; 0 means unknown.
        self._top_layer = _hevc_layers(extradata) if codec == "hevc" else 0
        self._disposable: Callable[[View], bool] | None = {
            "h264": self._h264_disposable,
            "hevc": self._hevc_disposable,
            "mpeg4": _mpeg4_disposable,
            "mpeg2video": _mpeg2_disposable,
            # A unit of these may hold, besides the picture it shows, others to be referred to; what
            # containers list as disposable (SVT-AV1 does) is about the picture that is shown.
            **dict.fromkeys(("av1", "vp9", "vp8"), _never),
        }.get(codec)
        self._can_start: Callable[[View], bool] = {
            "h264": self._h264_can_start,
            "hevc": self._hevc_can_start,
            "av1": _av1_can_start,
            "vp9": _vp9_can_start,
            "vp8": _vp8_can_start,
            "mpeg4": _mpeg4_can_start,
            "mpeg2video": _mpeg2_can_start,
            "h263": _h263_can_start,
        }.get(codec, _always)
        self.hidden: Callable[[View], bool] = _vp8_hidden if codec == "vp8" else _never

    def disposable(self, packet: View, listed: bool = False) -> bool:
        """No other picture refers to this packet's; `listed` says what its container thinks."""
        return self._disposable(packet) if self._disposable is not None else listed

    def can_start(self, packet: View) -> bool:
        """From here on the pictures come out as they do when decoding from the beginning."""
        return self._can_start(packet)

    def _h264_disposable(self, packet: View) -> bool:
        slices = 0
        for unit in self._units(packet):
            kind = unit[0] & 31
            if kind in (7, 8, 13, 15):  # parameter sets are for those that follow
                return False
            if 1 <= kind <= 5:
                if unit[0] >> 5 & 3:  # nal_ref_idc
                    return False
                slices += 1
        return slices > 0

    def _h264_can_start(self, packet: View) -> bool:
        slices = 0
        for unit in self._units(packet):
            kind = unit[0] & 31
            if kind == 5:
                return True  # IDR
            if kind == 6:
                frames = _recovery_frames(bytes(unit[1:]))
                if frames is not None:
                    return frames == 0  # more: the picture heals gradually, and not exactly
            if kind == 1:
                bits = _Bits(bytes(unit[1:33]))
                bits.ue()  # first_mb_in_slice
                if bits.ue() % 5 != 2:  # slice_type, I
                    return False
                slices += 1
        return slices > 0

    def _hevc_disposable(self, packet: View) -> bool:
        slices = 0
        for unit in self._units(packet):
            kind, layer = unit[0] >> 1 & 63, unit[1] & 7
            if 32 <= kind <= 34:
                return False
            if kind < 32:
                # TRAIL_N, TSA_N, ...: no reference within their layer, so it must be the top.
                if kind > 14 or kind % 2 or layer != self._top_layer:
                    return False
                slices += 1
        return slices > 0

    def _hevc_can_start(self, packet: View) -> bool:
        kinds = {unit[0] >> 1 & 63 for unit in self._units(packet)}
        return all(16 <= kind <= 23 for kind in kinds if kind < 32)


def _hevc_layers(extradata: bytes) -> int:
    """Temporal layers of an HEVC stream, from hvcC or from a video parameter set; 0 if unknown."""
    if extradata[:1] == b"\1":
        return extradata[21] >> 3 & 7 if len(extradata) > 22 else 0
    for unit in _by_start_code(memoryview(extradata)):
        if unit[0] >> 1 & 63 == 32:  # VPS
            bits = _Bits(bytes(unit[2:6]))
            bits.u(4 + 1 + 1 + 6)
            return bits.u(3) + 1
    return 0


def _framing(codec: str, extradata: bytes) -> Callable[[View], Iterator[View]]:
    """How the units of a packet are told apart: by start codes, or by length fields."""
    if extradata[:1] == b"\1" and codec in ("h264", "hevc"):
        at = 4 if codec == "h264" else 21
        if len(extradata) > at:
            width = (extradata[at] & 3) + 1
            return lambda packet: _by_length(packet, width)
    return _by_start_code


def _by_length(packet: View, width: int) -> Iterator[View]:
    at, end = 0, len(packet)
    while at + width + 2 <= end:
        length = int.from_bytes(packet[at : at + width], "big")
        at += width
        if length >= 2:
            yield packet[at : at + length]
        at += length


def _by_start_code(packet: View) -> Iterator[View]:
    data = bytes(packet)
    at = data.find(_START)
    while at >= 0:
        following = data.find(_START, at + 3)
        unit = packet[at + 3 : following if following >= 0 else len(data)]
        if len(unit) >= 2:
            yield unit
        at = following


def _recovery_frames(payload: bytes) -> int | None:
    """recovery_frame_cnt of the recovery point message in an H.264 SEI unit, None without one."""
    data = payload.replace(b"\0\0\3", b"\0\0")
    at = 0
    while at + 2 <= len(data) and data[at] != 0x80:
        kind = size = 0
        while at < len(data) and data[at] == 255:
            kind, at = kind + 255, at + 1
        kind, at = kind + (data[at] if at < len(data) else 0), at + 1
        while at < len(data) and data[at] == 255:
            size, at = size + 255, at + 1
        size, at = size + (data[at] if at < len(data) else 0), at + 1
        if kind == 6:
            return _Bits(data[at : at + size]).ue()
        at += size
    return None


class _Bits:
    """Bits from the front of a unit; zeros past its end."""

    def __init__(self, data: bytes, *, escaped: bool = True) -> None:
        data = data.replace(b"\0\0\3", b"\0\0") if escaped else data
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def u(self, count: int) -> int:
        """u(n)"""
        self._left -= count
        return self._value >> self._left & ((1 << count) - 1) if self._left >= 0 else 0

    def ue(self) -> int:
        """ue(v)"""
        if self._left <= 0:
            return 0
        rest = self._value & ((1 << self._left) - 1)
        zeros = self._left - rest.bit_length()
        length = 2 * zeros + 1
        if length > self._left:
            self._left = 0
            return 0
        self._left -= length
        return (rest >> self._left) - 1


def _mpeg4_types(packet: View) -> list[int]:
    """vop_coding_type of each VOP: 0 I, 1 P, 2 B, 3 S."""
    return [kind >> 6 for kind in _after(packet, b"\0\0\1\xb6", 0)]


def _mpeg4_disposable(packet: View) -> bool:
    return _mpeg4_types(packet) == [
        2
    ]  # AVI packs several VOPs into one packet, which then is needed


def _mpeg4_can_start(packet: View) -> bool:
    return _mpeg4_types(packet)[:1] == [0]


def _mpeg2_types(packet: View) -> set[int]:
    """picture_coding_type of each field or frame: 1 I, 2 P, 3 B."""
    return {kind >> 3 & 7 for kind in _after(packet, b"\0\0\1\0", 1)}


def _mpeg2_disposable(packet: View) -> bool:
    return _mpeg2_types(packet) == {3} and b"\0\0\1\xb3" not in bytes(packet)


def _mpeg2_can_start(packet: View) -> bool:
    return 1 in _mpeg2_types(packet)  # the second field of an I picture may be P


def _after(packet: View, code: bytes, skip: int) -> Iterator[int]:
    """The byte `skip` bytes after each occurrence of a start code."""
    data = bytes(packet)
    at = data.find(code)
    while 0 <= at < len(data) - len(code) - skip:
        yield data[at + len(code) + skip]
        at = data.find(code, at + len(code))


def _h263_can_start(packet: View) -> bool:
    bits = _Bits(bytes(packet[:12]), escaped=False)
    bits.u(22 + 8 + 5)  # start code, temporal reference, five flags
    if bits.u(3) != 7:  # source format
        return bits.u(1) == 0  # intra
    if bits.u(3) == 1:  # extended, and the optional part is here
        bits.u(18)
    return bits.u(3) == 0


def _vp8_hidden(packet: View) -> bool:
    return len(packet) > 0 and not packet[0] >> 4 & 1  # show_frame


def _vp8_can_start(packet: View) -> bool:
    return len(packet) > 0 and not packet[0] & 1


def _vp9_can_start(packet: View) -> bool:
    bits = _Bits(bytes(packet[:2]), escaped=False)
    bits.u(2)  # frame_marker
    if bits.u(1) + 2 * bits.u(1) == 3:  # profile
        bits.u(1)
    return bits.u(1) == 0 and bits.u(1) == 0  # not an existing frame, a key frame


def _av1_can_start(packet: View) -> bool:
    """The first frame of the temporal unit is a key frame, shown at once."""
    at = 0
    while at < len(packet):
        kind, extended, sized = packet[at] >> 3 & 15, packet[at] & 4, packet[at] & 2
        at += 2 if extended else 1
        length = shift = 0
        while sized and at < len(packet):
            byte = packet[at]
            length |= (byte & 127) << shift
            at, shift = at + 1, shift + 7
            if not byte & 128:
                break
        if kind in (3, 6) and at < len(packet):  # frame header, frame
            return packet[at] >> 4 == 1  # show_existing_frame 0, frame_type 0, show_frame 1
        if not sized:
            return False
        at += length
    return False


def _never(packet: View) -> bool:
    return False


def _always(packet: View) -> bool:
    return True
