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

from edgedx.core.codes import Code
from edgedx.core.errors import DependencyMissing
from edgedx.core.settings.accept import FramePolicy

from .codestream import Codestream, check_end, read_codestream
from .frames import choose_frame
from .header import field
from .refusals import check_budget, refuse

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
# Used where a user has installed it: it is under GPL-3, so edgedx may neither bundle nor require it.
_LIBJPEG = ("edgedx-libjpeg", "pylibjpeg-libjpeg")
_JPEG_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR")
_YBR = ("YBR_FULL", "YBR_FULL_422")
_YBR_JPEG_2000 = ("YBR_ICT", "YBR_RCT")


def _register_plugins() -> None:
    """Tell pydicom of our plugins; it takes those alone whose package is installed."""
    openjpeg = [syntax for syntax, (plugin, _) in _DECODERS.items() if plugin == _OPENJPEG]
    libjpeg = (*_JPEG_LOSSLESS, *_JPEG)
    for syntaxes, plugin, module in (
        (openjpeg, _OPENJPEG, "edgedx.dicom.reading.openjpeg_plugin"),
        (libjpeg, _LIBJPEG[0], "edgedx.dicom.reading.libjpeg_plugin"),
    ):
        for syntax in syntaxes:
            decoder = get_decoder(uid.UID(syntax))
            if plugin not in decoder.available_plugins:
                decoder.add_plugin(plugin, (module, "decode_frame"))


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
    frames, frame : int
        How many there are, and the index of the one that is read.
    """

    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    frames: int
    frame: int

    @property
    def stored_range(self) -> tuple[float, float]:
        """Least and greatest value of the stored bits."""
        if self.signed:
            return float(-(2 ** (self.stored - 1))), float(2 ** (self.stored - 1) - 1)
        return 0.0, float(2**self.stored - 1)

    def holds(self, extremes: tuple[float, float]) -> bool:
        """Whether the stored bits can hold a least and a greatest value."""
        return self.stored_range[0] <= extremes[0] and extremes[1] <= self.stored_range[1]


def decoders() -> dict[str, str]:
    """Transfer syntax to the package that decodes it; the last three only where a user has installed it."""
    pinned = {str(syntax): package for syntax, (_, package) in _DECODERS.items()}
    return pinned | {str(syntax): _LIBJPEG[1] for syntax in _JPEG_LOSSLESS}


def check_transfer_syntax(syntax: str) -> None:
    """Refuse transfer syntaxes that nothing here can decode, before the data set is parsed.

    Raises
    ------
    ImageError
        ``TRANSFER_SYNTAX``, naming the UID.
    """
    if syntax not in _DECODERS and syntax not in _JPEG_LOSSLESS:
        raise refuse(Code.TRANSFER_SYNTAX, f"transfer syntax {clean_uid(syntax)} has no decoder in edgedx")


def read_layout(dataset: Dataset, max_bytes: int, policy: FramePolicy = "refuse") -> Layout:
    """Read and check the Image Pixel module, and the size of the one decoded frame against the budget.

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
        frames=frames,
        frame=choose_frame(frames, policy),
    )
    if frames < 1:
        raise refuse(Code.BROKEN_HEADER, "NumberOfFrames is not positive")
    check_budget(layout.rows, layout.columns, max(layout.samples, 1), max(1, -(-allocated // 8)), max_bytes)
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
    """Decode the chosen frame.

    Returns
    -------
    pixels : ndarray of shape (H, W) or (H, W, 3)
        Stored values, integer; colour is RGB by pixel, whatever the planar configuration was.
    layout : Layout
        As given, with the depth of the codestream where pixels need more than BitsStored.
    decoder : str
        Package and version that decoded.

    Raises
    ------
    ImageError
        ``TRUNCATED``, ``HEADER_MISMATCH``, ``NEEDS_DECODER``, ``DECODE_FAILED``, ``TOO_LARGE`` (out of memory).
    DependencyMissing
        The pinned decoder is not installed.
    """
    needs_libjpeg, deeper = syntax in _JPEG_LOSSLESS, layout
    if syntax in _NATIVE:
        _check_native(dataset, layout)
    elif syntax == uid.RLELossless:
        if layout.photometric in _YBR_JPEG_2000:
            raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
    else:
        stream = _check_codestream(_frame(dataset, layout), layout)
        deep = stream.precision != 8 or (syntax == uid.JPEGExtended12Bit and layout.stored != 8)
        needs_libjpeg |= syntax in _JPEG and deep
        deeper = replace(layout, stored=max(layout.stored, stream.precision))
    plugin, package = _LIBJPEG if needs_libjpeg else _DECODERS[syntax]
    decoder = get_decoder(uid.UID(syntax))
    if plugin and plugin not in decoder.available_plugins:
        if needs_libjpeg:
            raise refuse(Code.NEEDS_DECODER, f"JPEG Lossless or 12-bit JPEG ({syntax}) needs {package} (GPL-3)")
        raise DependencyMissing(f"{package} is needed to decode {syntax}", next_step=f"pip install {package}")
    try:
        pixels, _ = decoder.as_array(dataset, index=layout.frame, decoding_plugin=plugin)
    except MemoryError:
        raise refuse(Code.TOO_LARGE, "not enough memory to decode") from None
    except Exception as error:
        raise refuse(Code.DECODE_FAILED, f"{package} cannot decode the pixels ({type(error).__name__})") from None
    shape = (layout.rows, layout.columns) if layout.samples == 1 else (layout.rows, layout.columns, 3)
    extremes = float(pixels.min()), float(pixels.max())
    if not layout.holds(extremes):  # else the header's depth stands, or the same image would be darker when compressed
        layout = deeper
    if pixels.shape != shape or not layout.holds(extremes):
        raise refuse(Code.DECODE_FAILED, f"{package} returned pixels that contradict the header")
    # Big-endian files give big-endian arrays, which OpenCV and torch do not take.
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False), layout, _decoder_name(package)


def _check_native(dataset: Dataset, layout: Layout) -> None:
    if layout.photometric in _YBR_JPEG_2000:
        raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
    if layout.allocated > 1 and field(dataset, "HighBit", int, layout.stored - 1) != layout.stored - 1:
        # PS3.5 8.1.1; pydicom takes the low bits whatever the header says, so the pixels would be wrong.
        raise refuse(Code.PIXEL_FORMAT, "HighBit is not BitsStored - 1")
    # Sub-sampled 422 has two samples per pixel on average (PS3.3 C.7.6.3.1.2).
    samples = 2 if layout.photometric == "YBR_FULL_422" else layout.samples
    expected = math.ceil(layout.frames * layout.rows * layout.columns * samples * layout.allocated / 8)
    actual = len(dataset.PixelData or b"")
    if actual < expected:
        raise refuse(Code.TRUNCATED, f"{actual} of {expected} bytes of pixels are there")


def _frame(dataset: Dataset, layout: Layout) -> bytes:
    tables = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    offsets = tuple(dataset[name].value for name in tables) if all(name in dataset for name in tables) else None
    try:
        return get_frame(dataset.PixelData, layout.frame, number_of_frames=layout.frames, extended_offsets=offsets)
    except Exception as error:
        raise refuse(Code.TRUNCATED, f"the encapsulated pixels are incomplete ({type(error).__name__})") from None


def _check_codestream(frame: bytes, layout: Layout) -> Codestream:
    stream = read_codestream(frame)
    if stream != Codestream(layout.rows, layout.columns, layout.samples, stream.precision):
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels have another size than the header says")
    if stream.precision > layout.allocated or stream.precision < 1:
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels are deeper than BitsAllocated")
    check_end(frame)
    return stream


def clean_uid(text: str) -> str:
    """`text` when it is a well-formed UID (PS3.5 9.1), else a placeholder: it is free text of a stranger."""
    return text if uid.UID(text).is_valid else "(not a UID)"


@cache
def _decoder_name(package: str) -> str:
    return f"{package} {version(package)}"


_register_plugins()
