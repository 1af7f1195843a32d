"""pydicom decoding plugin that calls pylibjpeg-openjpeg directly, without the pylibjpeg framework package.

The names of this module's three public things are pydicom's plugin interface
(``pydicom.pixels.common.CoderBase.add_plugin``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydicom import uid

if TYPE_CHECKING:
    from pydicom.pixels.decoders.base import DecodeRunner

DECODER_DEPENDENCIES = {
    syntax: ("pylibjpeg-openjpeg>=2.0",)
    for syntax in (uid.JPEG2000Lossless, uid.JPEG2000, uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)
}


def is_available(syntax: str) -> bool:
    """True when the transfer syntax is one of OpenJPEG's and the package is installed."""
    try:
        import openjpeg  # noqa: F401
    except ImportError:
        return False
    return syntax in DECODER_DEPENDENCIES


def decode_frame(src: bytes, runner: DecodeRunner) -> bytearray:
    """Decode one JPEG 2000 or HTJ2K frame to little-endian samples, colour by pixel."""
    from openjpeg.utils import decode_pixel_data

    frame = decode_pixel_data(src, version=2)
    # OpenJPEG undoes the codestream's own colour transform, and sizes its output by the codestream's precision.
    if runner.photometric_interpretation in ("YBR_ICT", "YBR_RCT"):
        runner.set_option("photometric_interpretation", "RGB")
    precision = int(runner.get_option("j2k_precision", runner.bits_stored))
    runner.set_option("bits_allocated", 8 if precision <= 8 else 16 if precision <= 16 else 32)
    return bytearray(frame)
