"""Images that a model was not made for: sets of the same organ (near), and anything else (far)."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgedx.core.errors import DataError, EdgedxError
from edgedx.core.image import Image
from edgedx.core.preprocess import Canvas, PreprocessSpec, canvas
from edgedx.core.settings.recipe_data import FOREIGN_BUILT_IN
from edgedx.dicom.reading.open import open_image

MOST = 600
"""Images of a set that are asked; more change nothing."""


def foreign_canvases(name: str, spec: PreprocessSpec, seed: int = 0) -> Canvas:
    """Canvases of a set, at most `MOST` of them, drawn by `seed`; what cannot be read is left out.

    Parameters
    ----------
    name : str
        One of `FOREIGN_BUILT_IN`, or a folder or MedMNIST file, relative to EDGEDX_DATA or the working folder.

    Raises
    ------
    DataError
        There is no such set, or nothing in it can be read.
    """
    rng = np.random.default_rng(seed)
    images = _MADE[name](rng) if name in _MADE else _given(name, rng)
    if not images:
        raise DataError(f"foreign set {name}: no image in it can be read", next_step="name another folder")
    return np.stack([canvas(image, spec) for image in images])


def is_here(name: str) -> bool:
    """Whether a set can be had without a download."""
    return name in _MADE or _place(name).exists()


def _place(name: str) -> Path:
    below = Path(os.environ.get("EDGEDX_DATA", ".")) / name
    return below if below.exists() else Path(name)


def _given(name: str, rng: np.random.Generator) -> list[Image]:
    path_of_set = _place(name)
    if not path_of_set.exists():
        raise DataError(f"no foreign set {name}", next_step="set EDGEDX_DATA to the folder that holds it")
    if path_of_set.suffix == ".npz":
        with np.load(path_of_set, allow_pickle=False) as arrays:
            images_of_set = arrays[next(key for key in arrays.files if key.startswith("test_images"))]
        return [Image.of_array(images_of_set[row]) for row in _drawn(len(images_of_set), rng)]
    paths = sorted(path for path in path_of_set.rglob("*") if path.is_file() and not path.name.startswith("."))
    return _readable([paths[row] for row in _drawn(len(paths), rng)])


def _drawn(count: int, rng: np.random.Generator) -> Sequence[int]:
    return sorted(int(row) for row in rng.permutation(count)[:MOST])


def _readable(paths: Sequence[Path]) -> list[Image]:
    images = []
    for path in paths:
        try:
            images.append(open_image(path).image)
        except EdgedxError:
            continue
    return images


def _photographs(rng: np.random.Generator) -> list[Image]:
    from sklearn.datasets import load_sample_images

    crops = []
    for picture in load_sample_images().images:
        for _ in range(100):
            side = int(rng.integers(100, 400))
            top, left = (int(rng.integers(0, length - side)) for length in picture.shape[:2])
            crops.append(np.ascontiguousarray(picture[top : top + side, left : left + side]))
    return [Image.of_array(crop) for crop in crops]


def _digits(rng: np.random.Generator) -> list[Image]:
    from sklearn.datasets import load_digits

    return [Image.of_array((digit * 255 / 16).astype(np.uint8)) for digit in load_digits().images[:400]]


def _noise(rng: np.random.Generator) -> list[Image]:
    return [Image.of_array(rng.integers(0, 256, (128, 128)).astype(np.uint8)) for _ in range(100)]


def _phantoms(rng: np.random.Generator) -> list[Image]:
    from edgedx.dicom.writing.phantom import BITS_STORED, LABELS, draw_phantom

    drawn = [draw_phantom(LABELS[number % 2], rng) for number in range(60)]
    return [Image.of_array(np.clip(one >> (BITS_STORED - 8), 0, 255).astype(np.uint8)) for one in drawn]


def _dicom(rng: np.random.Generator) -> list[Image]:
    import pydicom

    return _readable(sorted((Path(pydicom.__file__).parent / "data" / "test_files").glob("*.dcm")))


_MADE: dict[str, Callable[[np.random.Generator], list[Image]]] = {
    "photographs": _photographs,
    "digits": _digits,
    "noise": _noise,
    "phantoms": _phantoms,
    "dicom": _dicom,
}
assert set(_MADE) == set(FOREIGN_BUILT_IN)
