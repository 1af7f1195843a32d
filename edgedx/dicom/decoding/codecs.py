"""Compressed frames to stored values: one strict decoder for each kind of codestream.

================  =========================================================================================
JPEG, 8 bits      simplejpeg (libjpeg-turbo), which fails on libjpeg's warnings
JPEG, 12 bits     imagecodecs (libjpeg-turbo), after simplejpeg's strict pass over the same entropy-coded data
JPEG Lossless     the same, of 2 to 16 bits
JPEG-LS           imagecodecs (CharLS)
JPEG 2000, HTJ2K  imagecodecs (OpenJPEG), failing on its warnings
================  =========================================================================================

Only the codecs' modules are imported, not the 60 others of imagecodecs. Nothing here knows of DICOM.
"""

from __future__ import annotations

import logging
import threading
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.codes import Code
from edgedx.core.errors import DependencyMissing

from .codestream import Jpeg2000Header, check_tile_parts, longest_zero_run
from .jpeg_markers import LOSSLESS, JpegHeader, as_sequential
from .refusals import refuse

SIMPLEJPEG, IMAGECODECS = "simplejpeg", "imagecodecs"
_HARMLESS = "TPsot==TNsot"  # tile-parts counted from 1, as some writers do; OpenJPEG corrects it
# Bytes of zeros that coded data do not have: of checkerboards without noise, the worst case that was tried, the
# arithmetic coder makes 509 in a row and the high-throughput one 63.
_HOLE, _HOLE_HIGH_THROUGHPUT = 512, 128


def decode_jpeg(data: bytes, header: JpegHeader) -> tuple[NDArray[Any], str]:
    """One JPEG stream of 1 or 3 components.

    Parameters
    ----------
    data : bytes
        Colour is YCbCr or not as its own markers say (`jpeg_markers.with_colour_transform`); of JPEG Lossless the
        components are returned as they are.

    Returns
    -------
    pixels : ndarray of shape (H, W) or (H, W, 3), uint8 or uint16
    package : str
        The one that decoded.

    Raises
    ------
    ImageError
        ``DECODE_FAILED`` on any error or warning of libjpeg; ``PIXEL_FORMAT`` for other numbers of components.
    """
    if header.samples not in (1, 3):
        raise refuse(Code.PIXEL_FORMAT, f"a jpeg of {header.samples} components; 1 and 3 are read")
    lossless = header.process == LOSSLESS
    if header.precision == 8 and not lossless:
        return _strict(as_sequential(data, header, 8), header), SIMPLEJPEG
    # Huffman codes do not depend on the precision: as "8 bits" the same data pass through the same entropy decoder,
    # whose warnings imagecodecs does not report. The pixels of this pass mean nothing.
    _strict(as_sequential(data, header, 8), header)
    jpeg8 = _module("_jpeg8")
    space = None if header.samples == 1 or not lossless else "RGB"
    try:
        pixels = jpeg8.jpeg8_decode(data, colorspace=space, outcolorspace=space)
    except MemoryError:
        raise
    except Exception as error:
        raise _failed(IMAGECODECS, error) from None
    if int(pixels.max()) >> header.precision:  # differences that were damaged add up beyond it
        raise refuse(Code.DECODE_FAILED, f"{IMAGECODECS} returned pixels deeper than the jpeg says")
    return _shaped(pixels), IMAGECODECS


def decode_jpeg_ls(data: bytes) -> tuple[NDArray[Any], str]:
    """One JPEG-LS stream; ndarray of shape (H, W) or (H, W, C), uint8 or uint16."""
    try:
        return _shaped(_module("_jpegls").jpegls_decode(data)), IMAGECODECS
    except MemoryError:
        raise
    except Exception as error:
        raise _failed(IMAGECODECS, error) from None


def decode_jpeg_2000(data: bytes, header: Jpeg2000Header) -> tuple[NDArray[Any], str]:
    """One JPEG 2000 or HTJ2K codestream; ndarray of shape (H, W) or (H, W, C), signed as its components are.

    Raises
    ------
    ImageError
        ``DECODE_FAILED`` on any error or warning of OpenJPEG, and where the coded data have a hole: OpenJPEG makes
        pixels of zeros without a word, and only as many of them as there are packets can be right. See
        `check_tile_parts`, too.
    """
    least = _HOLE_HIGH_THROUGHPUT if header.high_throughput else _HOLE
    if longest_zero_run(data) >= max(least, header.packets + 1):
        raise refuse(Code.DECODE_FAILED, "the compressed pixels have a hole", next_step="copy the file again")
    check_tile_parts(data)
    _OPENJPEG.begin()
    try:
        pixels = _module("_jpeg2k").jpeg2k_decode(data, verbose=2, numthreads=1)
    except MemoryError:
        raise
    except Exception as error:
        raise _failed(IMAGECODECS, error) from None
    if _OPENJPEG.complained():
        raise refuse(Code.DECODE_FAILED, f"{IMAGECODECS} warns of the compressed pixels")
    return _shaped(pixels), IMAGECODECS


@cache
def decoder_name(package: str) -> str:
    """Package and version, as results record it."""
    return f"{package} {version(package)}"


def _strict(data: bytes, header: JpegHeader) -> NDArray[Any]:
    try:
        import simplejpeg
    except ImportError:
        raise _missing(SIMPLEJPEG) from None
    try:
        space = "GRAY" if header.samples == 1 else "RGB"
        return _shaped(np.asarray(simplejpeg.decode_jpeg(data, colorspace=space, strict=True)))
    except MemoryError:
        raise
    except Exception as error:
        raise _failed(SIMPLEJPEG, error) from None


def _shaped(pixels: NDArray[Any]) -> NDArray[Any]:
    return pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels


@cache
def _module(name: str) -> Any:
    import importlib

    try:
        return importlib.import_module(f"imagecodecs.{name}")
    except ImportError:
        raise _missing(IMAGECODECS) from None


def _missing(package: str) -> DependencyMissing:
    return DependencyMissing(f"{package} is needed to decode this image", next_step=f"pip install {package}")


def _failed(package: str, error: Exception) -> Exception:
    return refuse(Code.DECODE_FAILED, f"{package} cannot decode the pixels ({type(error).__name__})")


class _Complaints(logging.Handler):
    """OpenJPEG's warnings of the calling thread, which imagecodecs hands to Python's logging."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._counts = threading.local()
        logger = logging.getLogger("imagecodecs")
        logger.addHandler(self)
        logger.propagate = False
        logger.setLevel(logging.WARNING)

    def begin(self) -> None:
        self._counts.messages = 0

    def emit(self, record: logging.LogRecord) -> None:
        if _HARMLESS in record.getMessage():
            return
        self._counts.messages = getattr(self._counts, "messages", 0) + 1

    def complained(self) -> bool:
        return bool(self._counts.messages)


_OPENJPEG = _Complaints()
