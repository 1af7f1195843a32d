"""Pixel data to array: one pinned decoder per transfer syntax, and every check that comes before it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.pixels import convert_color_space  # type: ignore[attr-defined]  # public, but not re-exported by name

from edgedx.core.codes import Code
from edgedx.dicom.decoding.codecs import (
    IMAGECODECS,
    SIMPLEJPEG,
    decode_jpeg,
    decode_jpeg_2000,
    decode_jpeg_ls,
    decoder_name,
)
from edgedx.dicom.decoding.codestream import Size, check_end, read_jpeg_2000_header, read_jpeg_ls_size
from edgedx.dicom.decoding.jpeg_markers import LOSSLESS, JpegHeader, read_jpeg_header, with_colour_transform
from edgedx.dicom.decoding.refusals import refuse

from .fragments import frame_of, read_fragments
from .header import PixelElement, field
from .layout import YBR, YBR_JPEG_2000, Layout
from .native import native_words, run_length_words
from .padding import padded

_NATIVE = (uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian)
_JPEG_LOSSLESS = (uid.JPEGLossless, uid.JPEGLosslessSV1)
_JPEG = (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
_JPEG_LS = (uid.JPEGLSLossless, uid.JPEGLSNearLossless)
_JPEG_2000 = (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
# Transfer syntax to the package that decodes it: one each makes results the same on every device.
_DECODERS: dict[str, str] = {
    **dict.fromkeys(_NATIVE, "numpy"),
    **dict.fromkeys(_JPEG, SIMPLEJPEG),
    **dict.fromkeys((uid.RLELossless, *_JPEG_LOSSLESS, *_JPEG_LS, *_JPEG_2000), IMAGECODECS),
}


@dataclass(frozen=True)
class Frame:
    """One decoded frame.

    Attributes
    ----------
    pixels : ndarray of shape (H, W) or (H, W, 3)
        Stored values, integer; colour is RGB by pixel, whatever the planar configuration was.
    padding : ndarray of shape (H, W), bool, or None
        Pixels that are no image (`padding.padded`).
    layout : Layout
        As given, with the depth of the codestream where pixels need more than BitsStored.
    decoder : str
        Package and version.
    """

    pixels: NDArray[Any]
    padding: NDArray[np.bool_] | None
    layout: Layout
    decoder: str


def decoders() -> dict[str, str]:
    """Transfer syntax to the package that decodes it."""
    return {str(syntax): package for syntax, package in _DECODERS.items()}


def check_transfer_syntax(syntax: str) -> None:
    """Refuse transfer syntaxes that nothing here can decode, before the data set is parsed.

    Raises
    ------
    ImageError
        ``TRANSFER_SYNTAX``, naming the UID.
    """
    if syntax not in _DECODERS:
        raise refuse(Code.TRANSFER_SYNTAX, f"transfer syntax {clean_uid(syntax)} has no decoder in edgedx")


def decode(data: bytes, element: PixelElement, dataset: Dataset, syntax: str, layout: Layout) -> Frame:
    """Decode the chosen frame.

    Raises
    ------
    ImageError
        ``TRUNCATED``, ``HEADER_MISMATCH``, ``DECODE_FAILED``, ``PIXEL_FORMAT``, ``BROKEN_HEADER``, ``TOO_LARGE`` (out
        of memory).
    DependencyMissing
        The pinned decoder is not installed.
    """
    try:
        if syntax in _NATIVE:
            return _native(data, element, dataset, syntax, layout)
        return _encapsulated(data, element, dataset, syntax, layout)
    except MemoryError:
        raise refuse(Code.TOO_LARGE, "not enough memory to decode") from None


def _native(data: bytes, element: PixelElement, dataset: Dataset, syntax: str, layout: Layout) -> Frame:
    if layout.photometric in YBR_JPEG_2000:
        raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
    _check_high_bit(dataset, layout)
    if element.length is None:
        raise refuse(Code.BROKEN_HEADER, "encapsulated pixels in a transfer syntax without compression")
    big = syntax == uid.ExplicitVRBigEndian
    words = native_words(data, element.start, element.length, layout, big_endian=big, vr=element.vr)
    return _frame(words, dataset, layout, "numpy")


def _encapsulated(data: bytes, element: PixelElement, dataset: Dataset, syntax: str, layout: Layout) -> Frame:
    fragments = read_fragments(data, element.start, element.length)
    coded = frame_of(data, fragments, layout.frames, layout.frame, _extended_offsets(dataset))
    if syntax == uid.RLELossless:
        if layout.photometric in YBR_JPEG_2000:
            raise refuse(Code.BROKEN_HEADER, "PhotometricInterpretation is of another transfer syntax")
        _check_high_bit(dataset, layout)
        return _frame(run_length_words(coded, layout), dataset, layout, IMAGECODECS)
    if syntax in _JPEG_2000:
        header = read_jpeg_2000_header(coded)
        _check_size(header.size, layout)
        check_end(coded)
        # The codestream alone: OpenJPEG would apply the colour profile of the boxes around it.
        pixels, package = decode_jpeg_2000(coded[header.start :].rstrip(b"\0"), header)
        return _values(pixels, header.size.precision, dataset, layout, package)
    if syntax in _JPEG_LS:
        size = read_jpeg_ls_size(coded)
        _check_size(size, layout)
        check_end(coded)
        pixels, package = decode_jpeg_ls(coded)
        return _values(pixels, size.precision, dataset, layout, package)
    return _jpeg(coded, dataset, layout)


def _jpeg(coded: bytes, dataset: Dataset, layout: Layout) -> Frame:
    header = read_jpeg_header(coded)
    _check_size(Size(header.rows, header.columns, header.samples, header.precision), layout)
    if coded[header.end :].strip(b"\0\xff"):
        raise refuse(Code.DECODE_FAILED, "the compressed pixels go on behind their end marker")
    if header.process == LOSSLESS:
        pixels, package = _decoded(coded, header, False) if layout.samples > 1 else decode_jpeg(coded, header)
        if header.precision == layout.allocated > layout.stored:
            # The words as they were, unused bits and all (PS3.5 8.1.1): dcmtk writes such streams.
            return _frame(pixels, dataset, layout, package)
        return _values(pixels, header.precision, dataset, layout, package)
    if layout.samples == 1:
        pixels, package = decode_jpeg(coded, header)
        return _values(pixels, header.precision, dataset, layout, package)
    if header.precision != 8:
        raise refuse(Code.PIXEL_FORMAT, "12-bit JPEG in colour")
    # An Adobe segment and components called R, G, B are facts of the stream; else the header's word stands.
    transform = layout.photometric != "RGB"
    if header.adobe_transform is not None:
        transform = header.adobe_transform == 1
    elif header.component_ids == tuple(b"RGB"):
        transform = False
    pixels, package = _decoded(coded, header, transform)
    return _values(pixels, 8, dataset, replace(layout, photometric="RGB"), package, layout.photometric)


def _decoded(coded: bytes, header: JpegHeader, transform: bool) -> tuple[NDArray[Any], str]:
    coded = with_colour_transform(coded, header, transform)
    return decode_jpeg(coded, read_jpeg_header(coded))


def _check_high_bit(dataset: Dataset, layout: Layout) -> None:
    """PS3.5 8.1.1. Words whose value does not begin at their lowest bit were allowed before 2014."""
    if layout.allocated > 1 and field(dataset, "HighBit", int, layout.stored - 1) != layout.stored - 1:
        raise refuse(Code.PIXEL_FORMAT, "HighBit is not BitsStored - 1")


def _extended_offsets(dataset: Dataset) -> tuple[int, ...]:
    try:
        return tuple(np.frombuffer(dataset.ExtendedOffsetTable, "<u8").tolist())
    except Exception:  # absent or damaged: the fragments tell
        return ()


def _check_size(size: Size, layout: Layout) -> None:
    if size != Size(layout.rows, layout.columns, layout.samples, size.precision):
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels have another size than the header says")
    if not 1 <= size.precision <= layout.allocated:
        raise refuse(Code.HEADER_MISMATCH, "the compressed pixels are deeper than BitsAllocated")


def _values(
    pixels: NDArray[Any], precision: int, dataset: Dataset, layout: Layout, package: str, photometric: str = ""
) -> Frame:
    """Decoded samples as the header means them: its sign, and its depth where that holds them."""
    if layout.signed or pixels.dtype.kind != "u":  # decoders of unsigned samples return no bits above the precision
        pixels = _signed(pixels, precision, layout.signed)
    extremes = float(pixels.min()), float(pixels.max())
    deeper = layout
    if not layout.holds(extremes):  # else the header's depth stands, or the same image would be darker when compressed
        deeper = replace(layout, stored=max(layout.stored, precision))
    if pixels.shape != layout.shape or not deeper.holds(extremes):
        raise refuse(Code.DECODE_FAILED, f"{package} returned pixels that contradict the header")
    padding = padded(pixels, None, dataset, layout)
    pixels = _to_rgb(pixels, layout.photometric)
    if photometric:
        deeper = replace(deeper, photometric=photometric)
    return Frame(pixels, padding, deeper, decoder_name(package))


def _frame(words: NDArray[Any], dataset: Dataset, layout: Layout, package: str) -> Frame:
    """Words of the allocated bits to values of the stored bits."""
    if words.shape != layout.shape:
        raise refuse(Code.DECODE_FAILED, f"{package} returned pixels that contradict the header")
    pixels = words if layout.allocated == 1 else _signed(words, layout.stored, layout.signed)
    padding = padded(pixels, words, dataset, layout)
    return Frame(_to_rgb(pixels, layout.photometric), padding, layout, decoder_name(package))


def _signed(samples: NDArray[Any], bits: int, signed: bool) -> NDArray[Any]:
    """The low `bits` of each sample, as unsigned or as two's complement; what lies above is no part of the value."""
    width = 8 * samples.dtype.itemsize
    if samples.dtype.kind == ("i" if signed else "u") and bits >= width:
        return samples
    view: NDArray[Any] = samples.view(f"{'i' if signed else 'u'}{samples.dtype.itemsize}")
    if bits >= width:
        return view
    if not signed:
        return np.asarray(np.bitwise_and(view, view.dtype.type((1 << bits) - 1)))
    shift = view.dtype.type(width - bits)
    return np.asarray(np.right_shift(np.left_shift(view, shift), shift))


def _to_rgb(pixels: NDArray[Any], photometric: str) -> NDArray[Any]:
    if photometric in YBR:
        return np.asarray(convert_color_space(pixels, "YBR_FULL", "RGB"))
    return pixels


def clean_uid(text: str) -> str:
    """`text` when it is a well-formed UID (PS3.5 9.1), else a placeholder: it is free text of a stranger."""
    return text if uid.UID(text).is_valid else "(not a UID)"
