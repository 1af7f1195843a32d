"""Damaged and hostile files, in a child process: a crash of a native decoder must fail one test and not the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from PIL import Image as Picture
from samples import packaged

_CHILD = """
import random, sys
from edgedx.core.errors import ImageError
from edgedx.dicom.reading.open import open_image
from edgedx.core.codes import Code

def look(data, codes=frozenset(code.value for code in Code)):
    try:
        image = open_image(data, max_decoded_bytes=64 << 20, frames="middle").image
        assert image.value_range[0] <= image.pixels.min() and image.pixels.max() <= image.value_range[1]
    except ImageError as error:
        assert error.code in codes and error.__cause__ is None

mutations = int(sys.argv[1])
for path in sys.argv[2:]:
    data = open(path, "rb").read()
    look(data)
    for seed in range(mutations):
        rng = random.Random(seed)
        hurt = bytearray(data)
        first = 132 if data[128:132] == b"DICM" else 4
        for _ in range(rng.choice((1, 2, 4, 8))):
            hurt[rng.randrange(first, len(hurt))] = rng.randrange(256)
        look(bytes(hurt[: rng.randrange(len(hurt))] if seed % 7 == 0 else hurt))
print("survived")
"""


def survives(mutations: int, *paths: Path) -> None:
    command = [sys.executable, "-c", _CHILD, str(mutations), *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "survived"), done.stderr[-2000:]


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_jp2klossless.dcm",
        "SC_rgb_gdcm_KY.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "SC_rgb_jls_lossy_line.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "MR_small_RLE.dcm",
        "SC_rgb_rle_2frame.dcm",
        "ExplVR_BigEnd.dcm",
        "examples_palette.dcm",
    ],
)
def test_damaged_files_give_an_image_or_a_code_and_never_a_crash(name: str) -> None:
    survives(150, packaged(name))


def test_files_that_crashed_other_decoders_do_not_crash_the_pinned_ones() -> None:
    folder = os.environ.get("EDGEDX_FAULTS")
    if not folder:
        pytest.skip("EDGEDX_FAULTS does not name the folder of hostile files")
    files = sorted(Path(folder, "dicom").glob("*.dcm"))
    assert files
    survives(0, *files)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("TIFF", {"compression": "packbits"}),
        ("TIFF", {"compression": "tiff_adobe_deflate"}),
        ("TIFF", {"compression": "jpeg"}),
        ("BMP", {}),
        ("WEBP", {}),
    ],
)
def test_damaged_raster_files_too(kind: str, options: dict[str, object], tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (24, 30, 3)).astype(np.uint8)
    Picture.fromarray(pixels).save(tmp_path / "a", kind, **options)
    survives(300, tmp_path / "a")


@pytest.mark.parametrize("bits", [8, 12])
def test_damaged_lossless_jpeg_too(bits: int, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 1 << bits, (24, 30)).astype(np.uint8 if bits == 8 else np.uint16)
    for name, lossless in (("a", True), ("b", False)):
        frame = imagecodecs.jpeg8_encode(pixels, lossless=lossless or None, bitspersample=bits)
        (tmp_path / name).write_bytes(frame)
        survives(300, tmp_path / name)
