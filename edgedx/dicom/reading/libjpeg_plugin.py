"""pydicom decoding plugin for pylibjpeg-libjpeg, where a user has installed it: JPEG Lossless and 12-bit JPEG.

The package is under GPL-3, so it is no dependency of edgedx. The names of this module's three public things are
pydicom's plugin interface (``pydicom.pixels.common.CoderBase.add_plugin``).
"""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from pydicom import uid

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

DECODER_DEPENDENCIES = {
    syntax: ("pylibjpeg-libjpeg>=2.0",)
    for syntax in (uid.JPEGLossless, uid.JPEGLosslessSV1, uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)
}


def is_available(syntax: str) -> bool:
    """True when the transfer syntax is one of these and the package is installed."""
    return syntax in DECODER_DEPENDENCIES and importlib.util.find_spec("libjpeg") is not None


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one frame to little-endian samples, colour by pixel."""
    from libjpeg.utils import decode_pixel_data, get_parameters  # type: ignore[import-not-found, unused-ignore]

    frame = decode_pixel_data(src, version=2, photometric_interpretation=str(runner.photometric_interpretation))
    runner.set_option("bits_allocated", 8 if get_parameters(src)["precision"] <= 8 else 16)
    return bytearray(frame)
