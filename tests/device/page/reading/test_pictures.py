"""Pictures: drawn by a process that may die of them, in bounded memory, of the very content that was read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from bundles import dicom, picture, png_bytes, write_tiny

from edgedx.core.errors import ImageError
from edgedx.core.files import sha256_file
from edgedx.device.page.reading.pictures import Pictures


@pytest.fixture(scope="module")
def pictures() -> Iterator[Pictures]:
    opened = Pictures()
    yield opened
    opened.close()


def _seen(data: bytes) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def test_an_original_is_shown_pixel_by_pixel(pictures: Pictures, tmp_path: Path) -> None:
    pixels = picture(5, size=60)[:40]
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(pixels))
    assert np.array_equal(_seen(pictures.draw("a", "original", path, sha256_file(path))), pixels)


def test_a_large_one_keeps_its_shape(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(picture(6, size=4000)[:2000]))
    assert _seen(pictures.draw("large", "original", path, sha256_file(path))).shape == (800, 1600)


def test_what_the_model_saw_is_its_own_canvas_and_of_its_bundle_alone(pictures: Pictures, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    path = dicom(tmp_path / "a.dcm", 7)
    sha256 = sha256_file(path)
    drawn = pictures.draw("m", "model", path, sha256, bundle=bundle.path, digest=bundle.digest)
    assert _seen(drawn).shape == (16, 16)
    with pytest.raises(ImageError) as caught:
        pictures.draw("n", "model", path, sha256, bundle=bundle.path, digest="0" * 64)
    assert caught.value.code == "NO_BUNDLE"
    with pytest.raises(ImageError) as caught:
        pictures.draw("o", "map", path, sha256, bundle=bundle.path, digest=bundle.digest)
    assert caught.value.code == "NO_MAP"


def test_another_content_or_none_is_gone_and_what_cannot_be_read_says_why(pictures: Pictures, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(b"no image")
    for file, sha256, code in (
        (path, "0" * 64, "GONE"),
        (tmp_path / "b.png", "0" * 64, "GONE"),
        (path, sha256_file(path), "UNKNOWN_FORMAT"),
    ):
        with pytest.raises(ImageError) as caught:
            pictures.draw("x", "original", file, sha256)
        assert caught.value.code == code and "a.png" not in caught.value.message


def test_a_process_that_dies_is_replaced(tmp_path: Path) -> None:
    pictures = Pictures(kept=0)
    path = tmp_path / "a.png"
    path.write_bytes(png_bytes(picture(8)))
    pictures.draw("a", "original", path, sha256_file(path))
    assert pictures._child is not None
    pictures._child.kill()
    pictures._child.wait(10)
    assert pictures.draw("b", "original", path, sha256_file(path)).startswith(b"\x89PNG")
    pictures.close()


def test_memory_is_bounded(tmp_path: Path) -> None:
    pictures = Pictures(kept=30_000)
    for number in range(8):
        path = tmp_path / f"{number}.png"
        path.write_bytes(png_bytes(picture(number, size=100)))  # noise: some 10 kB each
        pictures.draw(str(number), "original", path, sha256_file(path))
    assert 1 <= len(pictures._pictures) <= 3
    pictures.close()
