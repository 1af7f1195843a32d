"""Pixel data to array: one pinned decoder per transfer syntax, and every check that comes before it."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import version
from typing import Any

from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder  # type: ignore[attr-defined]  # public, but not re-exported by name

from ..core.errors import DependencyMissing
from .codestream import Codestream, check_end, read_codestream
from .header import field
from .refusals import Code, check_budget, refuse

_OPENJPEG = "edgedx-openjpeg"
# Transfer syntax -> (pydicom plugin, installed package that does the work). pydicom would try every plugin that
# happens to be installed; one each makes results the same on every device, and lets a result name its decoder.
_NATIVE = dict.fromkeys((uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian))
_DECODERS: dict[str, tuple[str, str]] = {
    **dict.fromkeys(_NATIVE, ("", "pydicom")),
    uid.RLELossless: ("pydicom", "pydicom"),
    **dict.fromkeys((uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), ("pillow", "pillow")),
    **dict.fromkeys((uid.JPEGLSLossless, uid.JPEGLSNearLossless), ("pyjpegls", "pyjpegls")),
    **dict.fromkeys((uid.JPEG2000Lossless, uid.JPEG2000), (_OPENJPEG, "pylibjpeg-openjpeg")),
    **dict.fromkeys((uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K), (_OPENJPEG, "pylibjpeg-openjpeg")),
}
_LIBJPEG = "needs pylibjpeg-libjpeg (GPL-3) or GDCM, which edgedx does not bundle"
_NEEDS = {
    uid.JPEGLossless: _LIBJPEG,
    uid.JPEGLosslessSV1: _LIBJPEG,
    uid.JPEGExtended12Bit: f"12-bit JPEG {_LIBJPEG}",
}
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_YBR = ("YBR_FULL", "YBR_FULL_422")
_YBR_JPEG_2000 = ("YBR_ICT", "YBR_RCT")


def _register_openjpeg() -> None:
    for syntax in (s for s, (plugin, _) in _DECODERS.items() if plugin == _OPENJPEG):
        decoder = get_decoder(syntax)
        if _OPENJPEG not in decoder.available_plugins:
            decoder.add_plugin(_OPENJPEG, ("edgedx.dicom.openjpeg_plugin", "decode_frame"))


@dataclass(frozen=True)
class Layout:
    """Image Pixel module (PS3.3 C.7.6.3), checked.

    Attributes
    ----------
    rows, columns, samples : int
    allocated, stored : int
        Bits per sample.
    signed : bool
    photometric : str
        (0028,0004).
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str

    @property
    def stored_range(self) -> tuple[float, float]:
        """Least and greatest value of the stored bits."""
        if self.signed:
            return float(-(2 ** (self.stored - 1))), float(2 ** (self.stored - 1) - 1)
        return 0.0, float(2**self.stored - 1)


def check_transfer_syntax(syntax: str) -> None:
    """Refuse transfer syntaxes without a pinned decoder.

    Raises
    ------
    ImageError
        ``TRANSFER_SYNTAX``, naming the UID and what it would need.
    """
    if syntax not in _DECODERS:
        raise _unsupported(syntax)


def read_layout(dataset: Dataset, max_bytes: int) -> Layout:
    """Read and check the Image Pixel module, and the size of the decoded pixels against the budget.

    Raises
    ------
    ImageError
        ``MULTI_FRAME``, ``TOO_LARGE``, ``BROKEN_HEADER``, ``PIXEL_FORMAT``, ``PHOTOMETRIC``.
    """
    frames = field(dataset, "NumberOfFrames", int, 1)
    allocated = field(dataset, "BitsAllocated", int)
    layout = Layout(
        rows=field(dataset, "Rows", int),
        columns=field(dataset, "Columns", int),
        samples=field(dataset, "SamplesPerPixel", int, 1),
        allocated=allocated,
        stored=field(dataset, "BitsStored", int, allocated),
        signed=field(dataset, "PixelRepresentation", int, 0) == 1,
        photometric=field(dataset, "PhotometricInterpretation", str).strip().upper(),
    )
    check_budget(layout.rows, layout.columns, max(layout.samples, 1), max(1, -(-allocated // 8)), max_bytes, frames)
    if frames > 1:
        raise refuse(Code.MULTI_FRAME, f"{frames} frames", next_step="export the frame to be read as a single image")
    if allocated not in (1, 8, 16, 32):
        raise refuse(Code.PIXEL_FORMAT, f"{allocated} bits allocated; 1, 8, 16 and 32 are read")
    if not 1 <= layout.stored <= allocated or (layout.signed and layout.stored < 2):
        raise refuse(Code.BROKEN_HEADER, "BitsStored does not fit BitsAllocated")
    if layout.photometric in _GREY:
        samples = 1
    elif layout.photometric in ("RGB", *_YBR, *_YBR_JPEG_2000):
        samples = 3
    else:
        raise refuse(Code.PHOTOMETRIC, "a PhotometricInterpretation that edgedx does not read")
    if layout.samples != samples:
        raise refuse(Code.BROKEN_HEADER, "SamplesPerPixel contradicts PhotometricInterpretation")
    if samples == 3 and (layout.signed or layout.allocated not in (8, 16, 32)):
        raise refuse(Code.PIXEL_FORMAT, "signed or 1-bit colour")
    if layout.photometric in _YBR and (layout.allocated, layout.stored) != (8, 8):
        raise refuse(Code.PIXEL_FORMAT, "YBR of other than 8 bits")
    return layout


def decode(dataset: Dataset, syntax: str, layout: Layout) -> tuple[NDArray[Any], Layout, str]:
    """Decode the one frame.

    Returns
    -------
    pixels : ndarray of shape (H, W) or (H, W, 3)
        Stored values, integer; colour is RGB by pixel, whatever the planar configuration was.
    layout : Layout
        As given, with the true depth where the codestream is deeper than BitsStored.
    decoder : str
        Package and version that decoded.

    Raises
    ------
    ImageError
        ``TRUNCATED``, ``HEADER_MISMATCH``, ``TRANSFER_SYNTAX``, ``DECODE_FAILED``, ``TOO_LARGE`` (out of memory).
    DependencyMissing
        The pinned decoder is not installed.
    """
    if syntax in _NATIVE:
        _check_native(dataset, syntax, layout)
    elif syntax == uid.RLELossless:
        if layout.photometric in _YBR_JPEG_2000:
            raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
    else:
        layout = _check_codestream(_frame(dataset), syntax, layout)
    plugin, package = _DECODERS[syntax]
    decoder = get_decoder(uid.UID(syntax))
    if plugin and plugin not in decoder.available_plugins:
        raise DependencyMissing(f"{package} is needed to decode {syntax}", next_step=f"pip install {package}")
    try:
        pixels, _ = decoder.as_array(dataset, index=0, decoding_plugin=plugin)
    except MemoryError:
        raise refuse(Code.TOO_LARGE, "not enough memory to decode") from None
    except Exception as error:
        raise refuse(Code.DECODE_FAILED, f"{package} cannot decode the pixels ({type(error).__name__})") from None
    shape = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, 3)
    low, high = layout.stored_range
    if pixels.shape != shape or pixels.min() < low or pixels.max() > high:
        raise refuse(Code.DECODE_FAILED, f"{package} returned pixels that contradict the header")
    # Big-endian files give big-endian arrays, which OpenCV and torch do not take.
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False), layout, _decoder_name(package)


def _check_native(dataset: Dataset, syntax: str, layout: Layout) -> None:
    if layout.photometric in _YBR_JPEG_2000:
        raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
    if layout.allocated > 1 and field(dataset, "HighBit", int, layout.stored - 1) != layout.stored - 1:
        # PS3.5 8.1.1; pydicom takes the low bits whatever the header says, so the pixels would be wrong.
        raise refuse(Code.PIXEL_FORMAT, "HighBit is not BitsStored - 1")
    # Sub-sampled 422 has two samples per pixel on average (PS3.3 C.7.6.3.1.2).
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples
    expected = math.ceil(layout.rows * layout.columns * samples * layout.allocated / 8)
    actual = len(dataset.PixelData or b"")
    if actual < expected:
        raise refuse(
            Code.TRUNCATED, f"{actual} of {expected} bytes of pixels are there", next_step="copy the file again"
        )


def _frame(dataset: Dataset) -> bytes:
    try:
        return get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as error:
        raise refuse(Code.TRUNCATED, f"the encapsulated pixels are incomplete ({type(error).__name__})") from None


def _check_codestream(frame: bytes, syntax: str, layout: Layout) -> Layout:
    stream = read_codestream(frame)
    if stream != Codestream(layout.rows, layout.columns, layout.samples, stream.precision):
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels have another size than the header says")
    deep = stream.precision != 8 or (syntax == uid.JPEGExtended12Bit and layout.stored != 8)
    if syntax in _JPEG and deep:
        raise _unsupported(uid.JPEGExtended12Bit)
    if stream.precision > layout.allocated or stream.precision < 1:
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels are deeper than BitsAllocated")
    check_end(frame)
    return replace(layout, stored=max(layout.stored, stream.precision))


def _unsupported(syntax: str) -> Exception:
    needs = _NEEDS.get(uid.UID(syntax), "has no decoder in edgedx")
    known = clean_uid(syntax)
    return refuse(
        Code.TRANSFER_SYNTAX,
        f"transfer syntax {known}: {needs}",
        next_step="store the image uncompressed, RLE, JPEG-LS or JPEG 2000, e.g. with dcmdjpeg or gdcmconv --raw",
    )


def clean_uid(text: str) -> str:
    """`text` when it is a well-formed UID (PS3.5 9.1), else a placeholder: it is free text of a stranger."""
    return text if uid.UID(text).is_valid else "(not a UID)"


@cache
def _decoder_name(package: str) -> str:
    return f"{package} {version(package)}"


_register_openjpeg()
