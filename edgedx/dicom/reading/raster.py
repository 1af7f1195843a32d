"""PNG, JPEG and TIFF bytes to `Image`.

OpenCV decodes; Pillow reads the header alone, first, because OpenCV allocates whatever a header says. The bit depth
is kept (8 or 16), alpha is dropped, and every format is turned upright: OpenCV does that for TIFF by itself and for
PNG and JPEG not at all.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.core.image import Image

from .refusals import MAX_DECODED_BYTES, check_budget, check_content, check_file_size, refuse

_ORIENTATION = 0x0112  # EXIF and TIFF 6.0 tag
_PHOTOMETRIC, _BITS_PER_SAMPLE = 262, 258  # TIFF 6.0 tags
_WHITE_IS_ZERO = 0
_JPEG_END = b"\xff\xd9"
_PNG_END = b"IEND\xae\x42\x60\x82"  # the last chunk with its checksum, PNG 11.2.5


@dataclass(frozen=True)
class _Header:
    rows: int
    columns: int
    channels: int
    bytes_per_sample: int
    orientation: int
    grey_with_alpha: bool
    white_is_zero: bool


def read_raster(
    data: bytes, kind: Literal["png", "jpeg", "tiff"], *, max_decoded_bytes: int = MAX_DECODED_BYTES
) -> tuple[Image, str]:
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
        uint8 or uint16 of shape (H, W) or (H, W, 3), RGB, upright, no window, empty ``meta``.
    decoder : str
        Package and version.

    Raises
    ------
    ImageError
        ``EMPTY``, ``BROKEN_HEADER``, ``TOO_LARGE``, ``MULTI_FRAME``, ``TRUNCATED``, ``DECODE_FAILED``,
        ``PIXEL_FORMAT``, ``BLANK``.
    """
    check_file_size(len(data), max_decoded_bytes)
    header = _peek(data, kind)
    check_budget(header.rows, header.columns, header.channels, header.bytes_per_sample, max_decoded_bytes)
    _check_end(data, kind)
    try:
        pixels: Any = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except (cv2.error, MemoryError) as error:
        raise refuse(Code.DECODE_FAILED, f"OpenCV cannot decode the {kind} ({type(error).__name__})") from None
    if pixels is None:
        raise refuse(Code.DECODE_FAILED, f"OpenCV cannot decode the {kind}", next_step="copy or export it again")
    pixels = _to_rgb_or_grey(pixels, header)
    if kind != "tiff":
        pixels = upright(pixels, header.orientation)
    check_content(pixels)
    image = Image.of_array(np.ascontiguousarray(pixels))
    # OpenCV inverts white-is-zero TIFFs of 8 bits and leaves those of 16 as they are stored.
    inverted = header.white_is_zero and pixels.dtype == np.uint16 and pixels.ndim == 2
    image = Image(image.pixels, image.value_range, inverted=inverted)
    return image, f"opencv {cv2.__version__}"


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


def _peek(data: bytes, kind: str) -> _Header:
    """Header facts by Pillow, which reads no pixels until asked to."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of large images; the budget decides that
            with PIL.Image.open(io.BytesIO(data), formats=(kind.upper(),)) as picture:
                frames = 1 if kind == "jpeg" else int(getattr(picture, "n_frames", 1))
                header = _Header(
                    rows=picture.height,
                    columns=picture.width,
                    channels=len(picture.getbands()) if picture.mode != "P" else 3,
                    bytes_per_sample=_depth(picture, data, kind),
                    orientation=_orientation(picture),
                    grey_with_alpha=picture.mode in ("LA", "La"),
                    white_is_zero=_tiff_tag(picture, _PHOTOMETRIC) == _WHITE_IS_ZERO,
                )
    except PIL.Image.DecompressionBombError:
        raise refuse(Code.TOO_LARGE, f"the {kind} header promises more pixels than Pillow's limit") from None
    except Exception as error:
        raise refuse(
            Code.BROKEN_HEADER, f"the {kind} header is damaged or of an unknown kind ({type(error).__name__})"
        ) from None
    if frames > 1:
        raise refuse(Code.MULTI_FRAME, f"{frames} pages", next_step="export the page to be read as a single image")
    return header


def _depth(picture: PIL.Image.Image, data: bytes, kind: str) -> int:
    """Bytes per decoded sample; Pillow's mode does not tell for 16-bit colour."""
    if kind == "png":
        return 2 if data[24] == 16 else 1  # IHDR bit depth, PNG 11.2.2
    if kind == "jpeg":
        return 1
    bits = _tiff_tag(picture, _BITS_PER_SAMPLE)
    return max(1, int(max(bits if isinstance(bits, tuple) else (int(bits or 1),))) // 8)


def _tiff_tag(picture: PIL.Image.Image, tag: int) -> Any:
    tags = getattr(picture, "tag_v2", None)
    return None if tags is None else tags.get(tag)


def _orientation(picture: PIL.Image.Image) -> int:
    if "exif" not in picture.info:  # asking a PNG without it would make Pillow decode the pixels
        return 1
    try:
        return int(picture.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1  # a damaged EXIF block says nothing about the pixels


def _check_end(data: bytes, kind: str) -> None:
    """libjpeg fills the rest of a cut file with grey and calls it a success; so look for the end first."""
    if kind == "png" and _PNG_END not in data:
        raise refuse(Code.TRUNCATED, "the png ends without its end chunk", next_step="copy the file again")
    if kind != "jpeg" or data.rstrip(b"\x00\xff\r\n ").endswith(_JPEG_END):
        return
    try:  # something follows the picture (a phone's second image, a trailer): Pillow decodes strictly
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with PIL.Image.open(io.BytesIO(data), formats=("JPEG",)) as picture:
                picture.load()
    except Exception:
        raise refuse(Code.TRUNCATED, "the jpeg ends without its end marker", next_step="copy the file again") from None


def _to_rgb_or_grey(pixels: NDArray[Any], header: _Header) -> NDArray[Any]:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise refuse(Code.PIXEL_FORMAT, f"{pixels.dtype} samples; unsigned 8 and 16 bits are read")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        return pixels[:, :, 0]
    if pixels.ndim == 2:
        return pixels
    if pixels.shape[2] not in (3, 4):
        raise refuse(Code.PIXEL_FORMAT, f"{pixels.shape[2]} channels; 1, 3 and 4 are read")
    if header.grey_with_alpha:
        return pixels[:, :, 0]
    return pixels[:, :, 2::-1]
