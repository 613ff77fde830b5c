"""What a packet says about itself before it is decoded: needed by others, shown, a place to start.

Only the first bytes of each picture are read. Where a codec is not known here the answers are the
careful ones: needed, shown, and as good a start as its container says.

ITU-T H.264 7.3.1, 7.4.1, D.1.8; H.265 7.4.2.2; H.263 5.1; ISO 14496-2 6.2.5 (MPEG-4), 13818-2 6.3.9
(MPEG-2); RFC 6386 9.1 (VP8); VP9 and AV1 bitstream specifications, uncompressed headers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vidgen.data.bits import Bits, View, by_start_code, framing
from vidgen.data.references import References


class Bitstream:
    """Reads packets of one stream.

    Args:
        codec: FFmpeg's name.
        extradata: the container's parameter sets; they tell how units are separated.
    """

    def __init__(self, codec: str, extradata: bytes) -> None:
        self._units = framing(codec, extradata)
        self._references = References(extradata) if codec == "h264" else None
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

    def needed(
        self, packets: Sequence[View], listed: Sequence[bool], asked: set[int]
    ) -> tuple[set[int], bool]:
        """Which packets of a run are to be decoded to get those asked.

        Args:
            packets: in decoding order, from one where decoding can start.
            listed: which of them the container calls disposable.
            asked: their places.

        Returns:
            Places, and whether references were followed to find them; without that they are all
            that others may refer to.
        """
        if self._references is not None:
            followed = self._references.needed(packets, asked)
            if followed is not None:
                return followed, True
        pairs = enumerate(zip(packets, listed, strict=True))
        return {at for at, pair in pairs if at in asked or not self.disposable(*pair)}, False

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
                bits = Bits(bytes(unit[1:33]))
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
    for unit in by_start_code(memoryview(extradata)):
        if unit[0] >> 1 & 63 == 32:  # VPS
            bits = Bits(bytes(unit[2:6]))
            bits.u(4 + 1 + 1 + 6)
            return bits.u(3) + 1
    return 0


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
            return Bits(data[at : at + size]).ue()
        at += size
    return None


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
    bits = Bits(bytes(packet[:12]), escaped=False)
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
    bits = Bits(bytes(packet[:2]), escaped=False)
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
