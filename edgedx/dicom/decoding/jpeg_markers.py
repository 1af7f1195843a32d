"""The markers of a JPEG stream (ITU-T T.81 annex B), read without decoding: what it says of itself, and what it lacks.

libjpeg fills what is missing with grey and calls it a success. What its warnings do not cover is checked here: an end
marker, every component in a scan, and every bit of every coefficient of a progressive image.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from edgedx.core.codes import Code

from .refusals import refuse

_SOI, _EOI, _SOS, _DNL = 0xD8, 0xD9, 0xDA, 0xDC
_APP0, _APP14 = 0xE0, 0xEE
_NOT_SOF = {0xC4, 0xC8, 0xCC}  # DHT, JPG and DAC share the range of the frame headers
_BASELINE, _EXTENDED, _PROGRESSIVE, LOSSLESS = 0xC0, 0xC1, 0xC2, 0xC3
_STANDALONE = {0x01, *range(0xD0, 0xD9)}  # TEM, RST and SOI have no length
_NEXT = re.compile(rb"\xff+([\x01-\xcf\xd8-\xfe])")  # the first marker in coded data that is neither RST nor stuffing
_PROCESSES = {_BASELINE, _EXTENDED, _PROGRESSIVE, LOSSLESS}


@dataclass(frozen=True)
class JpegHeader:
    """One JPEG stream.

    Attributes
    ----------
    rows, columns, samples, precision : int
        Of the frame header, B.2.2.
    process : int
        Its marker: 0xC0 baseline, 0xC1 extended, 0xC2 progressive, 0xC3 lossless, all with Huffman codes.
    precision_at : int
        Offset of the byte that holds the precision.
    component_ids : tuple of int
    jfif : bool
        Whether there is a JFIF segment, which stands for YCbCr.
    adobe_transform : int or None
        Of the Adobe segment (APP14): 0 not transformed, 1 YCbCr; None without one.
    segments : tuple of (int, int, int)
        Marker, offset and end of every segment before the first scan.
    end : int
        Offset behind the end marker.
    scan_parameters_at : tuple of int
        Offsets of the three bytes of each scan that choose its coefficients (B.2.3).
    """

    rows: int
    columns: int
    samples: int
    precision: int
    process: int
    precision_at: int
    component_ids: tuple[int, ...]
    jfif: bool
    adobe_transform: int | None
    segments: tuple[tuple[int, int, int], ...]
    end: int
    scan_parameters_at: tuple[int, ...]


def read_jpeg_header(data: bytes) -> JpegHeader:
    """Walk through the markers of the first image in `data`.

    Raises
    ------
    ImageError
        ``TRUNCATED``: no end marker, a scan is missing; ``PIXEL_FORMAT``: arithmetic or hierarchical coding, whose
        damage no decoder sees; ``DECODE_FAILED``: no JPEG, or markers that contradict one another.
    """
    try:
        return _Walk(data).header()
    except (struct.error, IndexError):
        raise refuse(Code.TRUNCATED, "the jpeg ends within its markers", next_step="copy the file again") from None


def with_colour_transform(data: bytes, header: JpegHeader, transform: bool) -> bytes:
    """The stream with an Adobe segment that says whether its three components are YCbCr, and with no other word on it.

    libjpeg guesses by JFIF, Adobe and component names, in this order; the DICOM header knows better.
    """
    adobe = struct.pack(">BBH5sHHHB", 0xFF, _APP14, 14, b"Adobe", 100, 0, 0, int(transform))
    kept, at = [data[:2], adobe], 2
    for marker, begin, end in header.segments:
        if marker in (_APP0, _APP14):
            kept.append(data[at:begin])
            at = end
    return b"".join([*kept, data[at:]])


def as_sequential(data: bytes, header: JpegHeader, precision: int) -> bytes:
    """A sequential stream with another precision, and with the one choice of coefficients that it can have.

    Writers leave nonsense there, decoders read past it, and libjpeg warns of it as it does of damage.
    """
    edited = bytearray(data)
    edited[header.precision_at] = precision
    if header.process in (_BASELINE, _EXTENDED):
        for at in header.scan_parameters_at:
            edited[at : at + 3] = bytes((0, 63, 0))
    return bytes(edited)


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.frame: tuple[int, int] | None = None  # marker, offset of the segment's body
        self.segments: list[tuple[int, int, int]] = []
        self.jfif, self.adobe = False, None
        self.components: tuple[int, ...] = ()
        self.scanned: list[int] = []
        self.parameters_at: list[int] = []
        self.missing_bits: dict[tuple[int, int], int] = {}  # (component, coefficient) to bits that are still to come

    adobe: int | None

    def header(self) -> JpegHeader:
        if self.data[:2] != b"\xff\xd8":
            raise refuse(Code.DECODE_FAILED, "the compressed pixels have no readable frame header")
        end = self._markers()
        if self.frame is None:
            raise refuse(Code.DECODE_FAILED, "a jpeg without a frame header")
        self._check_scans()
        process, body = self.frame
        precision, rows, columns, samples = struct.unpack_from(">BHHB", self.data, body)
        return JpegHeader(
            rows, columns, samples, precision, process, body, self.components, self.jfif, self.adobe,
            tuple(self.segments), end, tuple(self.parameters_at),
        )  # fmt: skip

    def _markers(self) -> int:
        data, position, seen_scan = self.data, 2, False
        while True:
            begin = position
            if data[position] != 0xFF:
                raise refuse(Code.DECODE_FAILED, "a jpeg with bytes where a marker must be")
            while data[position] == 0xFF:  # fill bytes, B.1.1.2
                position += 1
            marker = data[position]
            position += 1
            if marker == _EOI:
                return position
            if marker in _STANDALONE or marker == 0:
                raise refuse(Code.DECODE_FAILED, "a jpeg with a marker where it cannot be")
            (length,) = struct.unpack_from(">H", data, position)
            body, position = position + 2, position + length
            if length < 2 or position > len(data):
                raise IndexError
            if marker == _SOS:
                self._scan(body)
                seen_scan, following = True, _NEXT.search(data, position)
                if following is None:
                    raise IndexError
                position = following.start()
                continue
            self._segment(marker, body, position)
            if not seen_scan:
                self.segments.append((marker, begin, position))

    def _segment(self, marker: int, body: int, end: int) -> None:
        data = self.data
        if 0xC0 <= marker <= 0xCF and marker not in _NOT_SOF:
            if self.frame is not None:
                raise refuse(Code.DECODE_FAILED, "a jpeg with two frame headers")
            if marker not in _PROCESSES:
                raise refuse(Code.PIXEL_FORMAT, "arithmetic or hierarchical JPEG, whose damage no decoder sees")
            self.frame = (marker, body)
            samples = data[body + 5]
            self.components = tuple(data[body + 6 + 3 * index] for index in range(samples))
            if marker == _PROGRESSIVE:
                self.missing_bits = {(name, k): -1 for name in self.components for k in range(64)}
        elif marker == _DNL:
            raise refuse(Code.PIXEL_FORMAT, "a jpeg whose height stands behind its pixels")
        elif marker == _APP0 and data[body : body + 5] == b"JFIF\0":
            self.jfif = True
        elif marker == _APP14 and data[body : body + 5] == b"Adobe" and end - body >= 12:
            self.adobe = data[body + 11]

    def _scan(self, body: int) -> None:
        if self.frame is None:
            raise refuse(Code.DECODE_FAILED, "a jpeg scan before the frame header")
        count = self.data[body]
        names = [self.data[body + 1 + 2 * index] for index in range(count)]
        first, last, bits = self.data[body + 1 + 2 * count : body + 4 + 2 * count]
        if any(name not in self.components for name in names):
            raise refuse(Code.DECODE_FAILED, "a jpeg scan of a component that is not in the frame")
        self.scanned += names
        self.parameters_at.append(body + 1 + 2 * count)
        if self.frame[0] != _PROGRESSIVE:
            return
        high, low = bits >> 4, bits & 15  # G.1.1.1.2: bits that came before, bits that still have to come
        for name in names:
            for k in range(first, min(last, 63) + 1):
                before = self.missing_bits[name, k]
                if before != (high if high else -1) or (high and low != high - 1):
                    raise refuse(Code.DECODE_FAILED, "a progressive jpeg whose scans do not follow one another")
                self.missing_bits[name, k] = low

    def _check_scans(self) -> None:
        assert self.frame is not None
        if self.frame[0] == _PROGRESSIVE:
            # Encoders may leave out coefficients that are zero everywhere; bits that were begun must end.
            complete = not any(bits > 0 for bits in self.missing_bits.values())
            complete &= all(self.missing_bits[name, 0] == 0 for name in self.components)
        else:
            complete = sorted(self.scanned) == sorted(self.components)
        if not complete:
            raise refuse(Code.TRUNCATED, "a jpeg without all its scans", next_step="copy the file again")
