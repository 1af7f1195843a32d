"""Every kind of TIFF that tags can name: read with the right values, or refused as sound and unsupported.

opencv/opencv#21700, #17705, #7025, GreycLab/CImg#72: planes, alpha, 16 bits and byte orders read wrong, or called
damaged.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Picture

from edgedx.core.errors import ImageError
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, canvas
from edgedx.dicom.reading.open import open_image

tifffile = pytest.importorskip("tifffile", reason="tifffile writes the kinds; scikit-image brings it")

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (40, 60)).astype(np.uint8)
GREY16 = RNG.integers(0, 4096, (40, 60)).astype(np.uint16)
RGB = RNG.integers(0, 256, (40, 60, 3)).astype(np.uint8)
RGB16 = RNG.integers(0, 65536, (40, 60, 3)).astype(np.uint16)


def written(pixels: NDArray[Any], **options: Any) -> bytes:
    buffer = io.BytesIO()
    options.setdefault("photometric", "rgb" if pixels.ndim == 3 else "minisblack")
    tifffile.imwrite(buffer, pixels, metadata=None, **options)
    return buffer.getvalue()


def by_hand(segments: list[bytes], tags: dict[int, int | tuple[int, ...]], order: str = "<") -> bytes:
    """A classic TIFF: the segments, then one directory."""
    body, offsets = b"", []
    for segment in segments:
        offsets.append(8 + len(body))
        body += segment + bytes(len(segment) % 2)
    tags = {273: tuple(offsets), 279: tuple(map(len, segments)), **tags}
    extra_at = 8 + len(body) + 2 + 12 * len(tags) + 4
    entries, extra = b"", b""
    for tag, value in sorted(tags.items()):
        values = value if isinstance(value, tuple) else (value,)
        data = struct.pack(f"{order}{len(values)}I", *values)
        if len(values) > 1:
            data, extra = struct.pack(f"{order}I", extra_at + len(extra)), extra + data
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + data
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}I", 8 + len(body))
    return head + body + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + extra


def code_of(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        open_image(data)
    return caught.value.code


def light(image: Image) -> NDArray[np.float64]:
    spec = PreprocessSpec(size=image.pixels.shape[:2], window="none", mean=(0.5,), std=(0.5,))
    return canvas(image, spec) / 65535


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("bigtiff", [False, True])
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 7}, {"tile": (16, 32)}])
@pytest.mark.parametrize(
    "compression", [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"compression": "packbits"}]
)
def test_grey_and_colour_of_8_and_16_bits_in_every_container(
    byteorder: str, bigtiff: bool, layout: dict[str, Any], compression: dict[str, str]
) -> None:
    for pixels in (GREY, GREY16, RGB, RGB16):
        found = open_image(written(pixels, byteorder=byteorder, bigtiff=bigtiff, **layout, **compression)).image
        np.testing.assert_array_equal(found.pixels, pixels)
        assert found.pixels.dtype == pixels.dtype and found.pixels.dtype.isnative and not found.inverted
        assert found.value_range == (0, np.iinfo(pixels.dtype).max)


@pytest.mark.parametrize("pixels", [GREY, GREY16, RGB, RGB16], ids=["8", "16", "rgb", "rgb16"])
@pytest.mark.parametrize("compression", ["lzw", "zlib"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
def test_the_horizontal_predictor_is_undone(pixels: NDArray[Any], compression: str, byteorder: str) -> None:
    data = written(pixels, compression=compression, predictor=2, byteorder=byteorder, rowsperstrip=9)
    np.testing.assert_array_equal(open_image(data).image.pixels, pixels)


@pytest.mark.parametrize("pixels", [RGB, RGB16], ids=["8", "16"])
@pytest.mark.parametrize(
    "options", [{}, {"compression": "zlib", "predictor": 2}, {"rowsperstrip": 11}, {"tile": (16, 16)}]
)
def test_colour_by_planes_is_colour_by_pixel(pixels: NDArray[Any], options: dict[str, Any]) -> None:
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    data = written(planes, photometric="rgb", planarconfig="separate", **options)
    np.testing.assert_array_equal(open_image(data).image.pixels, pixels)


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("kind", ["unassalpha", "unspecified"])
def test_an_extra_sample_is_left_out(planar: str, kind: str) -> None:
    for pixels in (RGB, RGB16):
        four = np.dstack([pixels, pixels[:, :, :1] // 2])
        stored = four if planar == "contig" else np.ascontiguousarray(np.moveaxis(four, 2, 0))
        data = written(stored, photometric="rgb", planarconfig=planar, extrasamples=[kind])
        np.testing.assert_array_equal(open_image(data).image.pixels, pixels)
    two = np.dstack([GREY16, GREY16[::-1]])
    data = written(two, photometric="minisblack", planarconfig="contig", extrasamples=[kind])
    np.testing.assert_array_equal(open_image(data).image.pixels, GREY16)


def test_colours_multiplied_with_alpha_are_refused_unless_alpha_is_whole() -> None:
    opaque = np.dstack([RGB, np.full((40, 60), 255, np.uint8)])
    data = written(opaque, photometric="rgb", extrasamples=["assocalpha"])
    np.testing.assert_array_equal(open_image(data).image.pixels, RGB)
    opaque[3, 3, 3] = 254
    assert code_of(written(opaque, photometric="rgb", extrasamples=["assocalpha"])) == "PIXEL_FORMAT"


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 10, 12, 14, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_every_depth_and_both_polarities_of_grey(bits: int, photometric: int) -> None:
    values = RNG.integers(0, 1 << bits, (21, 13)).astype(np.uint16)
    spread = (values[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
    rows = np.packbits(spread.reshape(21, -1).astype(np.uint8), axis=1)
    strips = [rows[top : top + 8].tobytes() for top in range(0, 21, 8)]
    tags = {256: 13, 257: 21, 258: bits, 259: 1, 262: photometric, 277: 1, 278: 8}
    image = open_image(by_hand(strips, tags, ">")).image
    expected = values / (2**bits - 1)
    np.testing.assert_allclose(light(image), 1 - expected if photometric == 0 else expected, atol=1e-4)
    assert image.inverted == (photometric == 0)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_palette_is_applied(bits: int) -> None:
    index = RNG.integers(0, 1 << bits, (20, 30)).astype(np.uint8)
    table = RNG.integers(0, 256, (3, 1 << bits)).astype(np.uint16)
    packed = index if bits == 8 else index[:, ::2] << 4 | index[:, 1::2]
    tags = {256: 30, 257: 20, 258: bits, 259: 1, 262: 3, 277: 1, 278: 20}
    for colours in (table * 257, table):  # of 16 bits as the standard says, of 8 as some write them
        data = by_hand([packed.astype(np.uint8).tobytes()], {**tags, 320: tuple(map(int, colours.ravel()))})
        np.testing.assert_array_equal(open_image(data).image.pixels, np.moveaxis(table[:, index], 0, 2))


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr"])
def test_jpeg_segments_are_those_of_pillow(mode: str) -> None:
    y, x = np.mgrid[:64, :96]
    smooth = np.dstack([x * 2, y * 3, x + y]).astype(np.uint8)
    buffer = io.BytesIO()
    Picture.fromarray(smooth).convert(mode).save(buffer, "TIFF", compression="jpeg", quality=95)
    with Picture.open(io.BytesIO(buffer.getvalue())) as picture:
        expected = np.asarray(picture.convert("L" if mode == "L" else "RGB")).astype(int)
    found = open_image(buffer.getvalue()).image.pixels
    np.testing.assert_allclose(found, expected, atol=2)


@pytest.mark.parametrize(
    ("pixels", "options"),
    [
        (GREY.astype(np.float32), {}),
        (GREY.astype(np.float64), {}),
        (GREY.astype(np.int16), {}),
        (GREY.astype(np.uint32), {}),
        (GREY.astype(np.complex64), {}),
        (RGB, {"photometric": "cielab"}),
        (np.dstack([RGB, RGB[:, :, :1]]), {"photometric": "separated"}),
        (GREY, {"compression": "zstd"}),
        (GREY, {"compression": "lzma"}),
        (np.dstack([RGB, RGB]), {"photometric": "rgb", "planarconfig": "contig"}),
    ],
    ids=["float32", "float64", "int16", "uint32", "complex", "lab", "cmyk", "zstd", "lzma", "six-samples"],
)
def test_sound_files_of_other_kinds_are_pixel_format_and_not_damaged(
    pixels: NDArray[Any], options: dict[str, Any]
) -> None:
    assert code_of(written(pixels, **options)) == "PIXEL_FORMAT"


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        ({266: 2}, "PIXEL_FORMAT"),  # bits in reverse order
        ({317: 3}, "PIXEL_FORMAT"),  # floating-point predictor
        ({259: 3}, "PIXEL_FORMAT"),  # fax
        ({262: 5}, "PIXEL_FORMAT"),
        ({258: 9}, "PIXEL_FORMAT"),
        ({258: 32}, "PIXEL_FORMAT"),
        ({278: 5}, "BROKEN_HEADER"),  # more strips than there are
        ({284: 7}, "BROKEN_HEADER"),
        ({257: 5000}, "DECODE_FAILED"),  # fewer pixels than rows
        ({279: 9999}, "TRUNCATED"),
        ({256: 0}, "BROKEN_HEADER"),
    ],
)
def test_tags_that_cannot_be_right_are_refused_with_a_code(tags: dict[int, int], code: str) -> None:
    sound: dict[int, Any] = {256: 60, 257: 40, 258: 8, 259: 1, 262: 1, 277: 1, 278: 5000}
    assert open_image(by_hand([GREY.tobytes()], sound)).image.pixels.shape == (40, 60)
    assert code_of(by_hand([GREY.tobytes()], {**sound, **tags})) == code


def test_pages_are_counted_by_their_directories() -> None:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, np.stack([GREY, GREY[::-1]]), photometric="minisblack", metadata=None)
    assert code_of(buffer.getvalue()) == "MULTI_FRAME"
