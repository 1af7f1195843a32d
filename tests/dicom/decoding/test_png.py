"""Every kind of PNG against a decoder of twenty lines, and every checksum."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from edgedx.core.errors import ImageError
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.dicom.reading.open import open_image

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
KINDS = [
    *((0, bits) for bits in (1, 2, 4, 8, 16)),
    *((3, bits) for bits in (1, 2, 4, 8)),
    *((colour, bits) for colour in (2, 4, 6) for bits in (8, 16)),
]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(values: NDArray[np.uint16], colour: int, bits: int, extra: bytes = b"", interlaced: bool = False) -> bytes:
    """Values of shape (H, W, channels), written without filters; interlaced by Adam7 (PNG 8.2)."""
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for top, left, down, across in passes:
        part = values[top::down, left::across]
        if not part.size:
            continue
        for row in part.reshape(len(part), -1):
            spread = ((row[:, None] >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
            raw += b"\0" + np.packbits(spread.ravel()).tobytes()
    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(data)
    return caught.value.code


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("transparent", [False, True])
@pytest.mark.parametrize(("colour", "bits"), KINDS)
def test_every_kind_has_its_values(colour: int, bits: int, transparent: bool, interlaced: bool) -> None:
    """python-pillow/Pillow#3011, #2574, opencv/opencv#12185: alpha and 16 bits together."""
    rng = np.random.default_rng(bits + colour)
    values = rng.integers(0, 1 << bits, (17, 23, CHANNELS[colour])).astype(np.uint16)
    extra = chunk(b"gAMA", struct.pack(">I", 20000))
    palette = rng.integers(0, 256, (1 << bits, 3)).astype(np.uint8) if colour == 3 else np.zeros((1, 3), np.uint8)
    if colour == 3:
        extra += chunk(b"PLTE", palette.tobytes())
    if transparent and colour in (0, 2):
        extra += chunk(b"tRNS", values[0, 0].astype(">u2").tobytes())
    elif transparent and colour == 3:
        extra += chunk(b"tRNS", bytes([0, 128]))
    found = open_image(png(values, colour, bits, extra, interlaced)).image.pixels
    if colour == 3:
        expected = palette[values[:, :, 0]]
    else:
        expected = values[:, :, : 1 if colour in (0, 4) else 3] * (255 // (2**bits - 1) if bits < 8 else 1)
        expected = expected[:, :, 0] if colour in (0, 4) else expected
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == (np.uint16 if bits == 16 else np.uint8)


@pytest.mark.parametrize("colour", [0, 2, 4, 6])
def test_12_bit_grey_is_windowed_alike_in_every_colour_type(colour: int) -> None:
    """Nerogar/mgds#55: the same picture nearly black with alpha, or as three channels."""
    ramp = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    alpha = np.full_like(ramp, 65535)
    stored = {0: [ramp], 2: [ramp] * 3, 4: [ramp, alpha], 6: [ramp, ramp, ramp, alpha]}[colour]
    for three in ("grey", "rgb"):
        count = 1 if three == "grey" else 3
        spec = PreprocessSpec(size=(64, 64), colour=three, mean=(0.5,) * count, std=(0.5,) * count)
        seen = canvas(open_image(png(np.dstack(stored), colour, 16)).image, spec)
        grey = canvas(open_image(png(ramp[:, :, None], 0, 16)).image, spec)
        np.testing.assert_array_equal(seen, grey)
        assert seen.min() == 0 and seen.max() == 65535


def test_three_equal_channels_are_one_and_nearly_equal_ones_are_three() -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    colour = np.dstack([ramp] * 3)
    assert open_image(png(colour, 2, 16)).image.pixels.shape == (64, 64)
    colour[63, 62, 1] += 1
    assert open_image(png(colour, 2, 16)).image.pixels.shape == (64, 64, 3)


def test_one_flipped_bit_anywhere_is_refused() -> None:
    data = png(np.random.default_rng(0).integers(0, 256, (20, 20, 1)).astype(np.uint16), 0, 8)
    for at in range(8, len(data)):
        hurt = bytearray(data)
        hurt[at] ^= 4
        assert code_of(bytes(hurt)) in {"DECODE_FAILED", "TRUNCATED", "BROKEN_HEADER"}, at


def test_rows_that_are_not_there_are_refused_though_all_checksums_are_right() -> None:
    values = np.random.default_rng(0).integers(0, 256, (40, 20, 1)).astype(np.uint16)
    short = png(values[:30], 0, 8).replace(struct.pack(">II", 20, 30), struct.pack(">II", 20, 40))
    header = struct.pack(">IIBBBBB", 20, 40, 8, 0, 0, 0, 0)
    at = short.index(b"IHDR")
    short = short[: at - 4] + chunk(b"IHDR", header) + short[at + 4 + 13 + 4 :]
    assert code_of(short) == "DECODE_FAILED"


def test_what_follows_the_end_chunk_is_no_part_of_the_image() -> None:
    data = png(np.random.default_rng(0).integers(0, 256, (20, 20, 1)).astype(np.uint16), 0, 8)
    np.testing.assert_array_equal(open_image(data + b"tail").image.pixels, open_image(data).image.pixels)


@pytest.mark.parametrize("kind", ["BMP", "WEBP"])
@pytest.mark.parametrize("mode", ["L", "RGB", "P", "1", "RGBA"])
def test_bmp_and_lossless_webp_are_read(kind: str, mode: str) -> None:
    if kind == "WEBP" and mode in ("P", "1", "L"):
        pytest.skip("WebP has colour alone")
    rgb = np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    picture = Picture.fromarray(rgb).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}))
    found = open_image(buffer.getvalue())
    expected = np.asarray(picture.convert("L" if mode in ("L", "1") else "RGB"))
    np.testing.assert_array_equal(found.image.pixels, expected)
    assert found.format == kind.lower() and found.decoder.startswith("pillow ")
    data = buffer.getvalue()
    for size in range(30, len(data) - 4, 211):
        assert code_of(data[:size]) in {"TRUNCATED", "BROKEN_HEADER", "DECODE_FAILED"}


def test_a_webp_with_a_hole_an_animated_one_and_a_run_length_bmp_are_refused() -> None:
    y, x = np.mgrid[:256, :256]
    noise = np.random.default_rng(0).normal(0, 9, (256, 256))
    grey = (100 + 50 * np.sin(x / 9) + 40 * np.cos(y / 7) + noise).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(grey).save(buffer, "WEBP", quality=90)
    data = buffer.getvalue()
    middle = len(data) // 2
    assert code_of(data[:middle] + bytes(512) + data[middle + 512 :]) == "DECODE_FAILED"
    buffer = io.BytesIO()
    frames = [Picture.fromarray(grey), Picture.fromarray(grey[::-1])]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    assert code_of(buffer.getvalue()) == "MULTI_FRAME"
    header = struct.pack("<2sIHHIIiiHHIIiiII", b"BM", 200, 0, 0, 54, 40, 20, 20, 1, 8, 1, 0, 0, 0, 0, 0)
    assert code_of(header + bytes(200)) == "PIXEL_FORMAT"
