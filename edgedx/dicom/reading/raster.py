"""PNG, JPEG, TIFF, BMP and WebP bytes to `Image`, strictly: what is damaged is refused, what is not understood too.

The bit depth is kept (8 or 16), alpha is dropped, three equal channels are one, and every format is turned upright.

====  ==================================================================
PNG   checksums of all chunks here, pixels by OpenCV
JPEG  markers here, pixels by `codecs`
TIFF  `tiff_tags`, `tiff`
BMP   uncompressed, Pillow
WebP  Pillow; its lossy kind has no checksum, so that damage may pass
====  ==================================================================
"""

from __future__ import annotations

import io
import struct
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import PIL
import PIL.Image
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.core.image import FORMAT, Image
from edgedx.dicom.decoding.codecs import decode_jpeg, decoder_name
from edgedx.dicom.decoding.codestream import longest_zero_run
from edgedx.dicom.decoding.jpeg_markers import read_jpeg_header
from edgedx.dicom.decoding.png import read_png_header
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES, check_budget, check_content, check_file_size, refuse
from edgedx.dicom.decoding.tiff import decode_page
from edgedx.dicom.decoding.tiff_tags import WHITE_IS_ZERO, read_page

from .grey import grey_where_equal

RasterFormat = Literal["png", "jpeg", "tiff", "bmp", "webp"]

_ORIENTATION = 0x0112  # EXIF and TIFF 6.0 tag
_APP1, _EXIF = 0xE1, b"Exif\0\0"
_HOLE = 512  # bytes of zeros that the arithmetic coder of lossy WebP does not make, as that of JPEG 2000


@dataclass(frozen=True)
class _Pixels:
    pixels: NDArray[Any]
    bits: int
    orientation: int
    decoder: str
    inverted: bool = False


def read_raster(data: bytes, kind: RasterFormat, *, max_decoded_bytes: int = MAX_DECODED_BYTES) -> tuple[Image, str]:
    """Decode one raster file.

    Parameters
    ----------
    data : bytes
        The whole file.
    kind : str
        What `open.sniff` recognised.
    max_decoded_bytes : int
        Budget for the file and for the decoded pixels, bytes.

    Returns
    -------
    image : Image
        uint8 or uint16 of shape (H, W) or (H, W, 3), RGB, upright, no window; ``meta`` says the format alone.
    decoder : str
        Package and version.

    Raises
    ------
    ImageError
        ``EMPTY``, ``BROKEN_HEADER``, ``TOO_LARGE``, ``MULTI_FRAME``, ``TRUNCATED``, ``DECODE_FAILED``,
        ``PIXEL_FORMAT``, ``BLANK``.
    """
    check_file_size(len(data), max_decoded_bytes)
    try:
        decoded = _READERS[kind](data, max_decoded_bytes)
    except MemoryError:
        raise refuse(Code.TOO_LARGE, "not enough memory to decode") from None
    pixels = grey_where_equal(upright(decoded.pixels, decoded.orientation))
    check_content(pixels)
    value_range = (0.0, float(2**decoded.bits - 1))
    image = Image(np.ascontiguousarray(pixels), value_range, inverted=decoded.inverted, meta={FORMAT: kind})
    return image, decoded.decoder


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112); values outside 1 to 8 count as 1.

    Parameters
    ----------
    pixels : ndarray of shape (H, W) or (H, W, C)
    orientation : int
    """
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _png(data: bytes, max_bytes: int) -> _Pixels:
    header = read_png_header(data)
    check_budget(header.rows, header.columns, header.channels, 2 if header.bits == 16 else 1, max_bytes)
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise refuse(Code.DECODE_FAILED, f"OpenCV cannot decode the png ({type(error).__name__})") from None
    if pixels is None or pixels.shape[:2] != (header.rows, header.columns):
        raise refuse(Code.DECODE_FAILED, "OpenCV cannot decode the png", next_step="copy or export it again")
    if pixels.ndim == 3:
        pixels = pixels[:, :, 0] if header.grey else pixels[:, :, 2::-1]
    return _Pixels(pixels, 8 * pixels.dtype.itemsize, _orientation(header.exif), f"opencv {cv2.__version__}")


def _jpeg(data: bytes, max_bytes: int) -> _Pixels:
    header = read_jpeg_header(data)
    check_budget(header.rows, header.columns, header.samples, 1 if header.precision <= 8 else 2, max_bytes)
    exif = b""
    for marker, begin, end in header.segments:
        if marker == _APP1 and data[begin:end].find(_EXIF) >= 0:
            exif = data[begin:end].partition(_EXIF)[2]
            break
    pixels, package = decode_jpeg(data, header)
    return _Pixels(pixels, header.precision, _orientation(exif), decoder_name(package))


def _tiff(data: bytes, max_bytes: int) -> _Pixels:
    page = read_page(data, max_bytes)
    pixels, bits = decode_page(data, page)
    inverted = page.photometric == WHITE_IS_ZERO
    return _Pixels(pixels, bits, page.orientation, decoder_name("imagecodecs"), inverted)


def _bmp(data: bytes, max_bytes: int) -> _Pixels:
    if len(data) < 34:
        raise refuse(Code.TRUNCATED, "the bmp ends within its header", next_step="copy the file again")
    if struct.unpack_from("<I", data, 14)[0] >= 40 and struct.unpack_from("<I", data, 30)[0] not in (0, 3):
        raise refuse(Code.PIXEL_FORMAT, "a compressed bmp", next_step="save it as png")
    return _pillow(data, "BMP", max_bytes)


def _webp(data: bytes, max_bytes: int) -> _Pixels:
    if struct.unpack_from("<I", data, 4)[0] + 8 > len(data):
        raise refuse(Code.TRUNCATED, "the webp ends early", next_step="copy the file again")
    if b"VP8 " in data[12:64] and longest_zero_run(data) >= _HOLE:
        raise refuse(Code.DECODE_FAILED, "the webp has a hole", next_step="copy the file again")
    return _pillow(data, "WEBP", max_bytes)


def _pillow(data: bytes, kind: str, max_bytes: int) -> _Pixels:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; the budget decides that
            picture = PIL.Image.open(io.BytesIO(data), formats=(kind,))
    except PIL.Image.DecompressionBombError:
        raise refuse(Code.TOO_LARGE, f"the {kind} header promises more pixels than Pillow's limit") from None
    except Exception as error:
        raise refuse(Code.BROKEN_HEADER, f"the {kind} header is damaged ({type(error).__name__})") from None
    with picture:
        check_budget(picture.height, picture.width, len(picture.getbands()), 1, max_bytes)
        if int(getattr(picture, "n_frames", 1)) > 1:
            raise refuse(Code.MULTI_FRAME, "several pages", next_step="export the page to be read as a single image")
        orientation = _orientation(picture.info.get("exif", b"").removeprefix(_EXIF))
        try:
            mode = "L" if picture.mode in ("1", "L") else "RGB"
            pixels = np.asarray(picture.convert(mode))
        except MemoryError:
            raise
        except Exception as error:
            code = Code.TRUNCATED if "truncated" in str(error) else Code.DECODE_FAILED
            raise refuse(code, f"Pillow cannot decode the {kind} ({type(error).__name__})") from None
    return _Pixels(pixels, 8, orientation, f"pillow {PIL.__version__}")


def _orientation(exif: bytes) -> int:
    """Of a TIFF header as EXIF has it; 1 where there is none, or a damaged one: it says nothing about the pixels."""
    if not exif:
        return 1
    try:
        tags = PIL.Image.Exif()
        tags.load(_EXIF + exif)
        return int(tags.get(_ORIENTATION, 1))
    except Exception:
        return 1


_READERS = {"png": _png, "jpeg": _jpeg, "tiff": _tiff, "bmp": _bmp, "webp": _webp}
