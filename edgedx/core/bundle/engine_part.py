"""A shipped engine as a part of a bundle: compressed, because TensorRT for RTX writes CUDA source text into engines.

Each kernel that it generates carries the same 130 KB of text, so that the engine of a small 8-bit network is larger
than its FP16 one; xz takes that away (benchmarks/engines.py).
"""

from __future__ import annotations

import lzma

from edgedx.core.errors import BundleError
from edgedx.core.files import sha256_bytes

from .manifest import Engine

MAX_ENGINE_BYTES = 2 << 30
_PRESET = 0  # 1 wins 1 to 4 % and takes twice as long, which is 12 s for a ResNet-50


def pack_engine(plan: bytes) -> bytes:
    """The part for an engine."""
    return lzma.compress(plan, preset=_PRESET)


def unpack_engine(part: bytes, engine: Engine) -> bytes:
    """The engine of a part, never larger than the manifest says, and with the hash that it says.

    Raises
    ------
    BundleError
        It is not.
    """
    if engine.bytes > MAX_ENGINE_BYTES:
        raise BundleError(f"engine {engine.file} is larger than {MAX_ENGINE_BYTES >> 20} MiB")
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        plan = decompressor.decompress(part, max_length=engine.bytes)
    except lzma.LZMAError as error:
        raise BundleError(f"engine {engine.file} does not decompress: {error}") from error
    if len(plan) != engine.bytes or sha256_bytes(plan) != engine.sha256:
        raise BundleError(f"engine {engine.file} is not the one that the manifest describes")
    return plan
