"""Brain tumours on contrast-enhanced T1 slices with their patients (Cheng et al. 2015, figshare): MATLAB files.

Layout as on https://doi.org/10.6084/m9.figshare.1512427: 3,064 files ``1.mat`` to ``3064.mat`` (of four archives, in
one folder or in several), HDF5 inside, each with ``cjdata``: ``label`` (1 meningioma, 2 glioma, 3 pituitary tumour),
``PID`` (characters as numbers), ``image``. ``cvind.mat`` holds the authors' five folds, in the order of the files.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedx.core.errors import DataError, DependencyMissing, ImageError
from edgedx.core.files import sha256_bytes, storage_error
from edgedx.core.image import Image
from edgedx.core.progress import track
from edgedx.core.settings.recipe_sections import Data

from .listing import ListedEntry, Listing

_FOLDS = "cvind.mat"


def brain_figshare(root: Path, data: Data) -> Listing:
    """List the slices with label, patient and, where cvind.mat is, the authors' fold."""
    files = {path.stem: path for path in root.rglob("*.mat") if path.stem.isdigit()}
    if not files:
        raise DataError(f"{root}: there is no 1.mat to 3064.mat in it or below")
    ordered = sorted(files, key=int)
    folds = _folds(root)
    found = [
        _found(root, files[name], folds.get(int(name), "")) for name in track(ordered, "listing slices", len(ordered))
    ]
    return Listing(found, lambda name: _read(root / name))


def _found(root: Path, path: Path, fold: str) -> ListedEntry:
    name = path.relative_to(root).as_posix()
    try:
        label, patient = _field(path, "cjdata/label"), _field(path, "cjdata/PID")
    except ImageError:
        return ListedEntry(name, "", problem="not a slice with label and patient")
    return ListedEntry(name, f"{float(label.flat[0]):g}", "".join(map(chr, patient.flatten().astype(int))), fold=fold)


def _folds(root: Path) -> dict[int, str]:
    path = next(iter(sorted(root.rglob(_FOLDS))), None)
    if path is None:
        return {}
    return {place: f"{int(fold)}" for place, fold in enumerate(_field(path, "cvind").flatten(), 1)}


def _read(path: Path) -> tuple[Image, str]:
    pixels = np.ascontiguousarray(_field(path, "cjdata/image").T)  # MATLAB stores by column
    if pixels.ndim != 2 or pixels.dtype.kind not in "iu":
        raise _broken(path, "cjdata/image is not a picture of whole numbers")
    limits = np.iinfo(pixels.dtype)
    return Image(pixels, (max(0.0, float(limits.min)), float(limits.max))), sha256_bytes(pixels.tobytes())


def _field(path: Path, name: str) -> NDArray[Any]:
    """One array of a file.

    Raises
    ------
    ImageError
        ``BROKEN_VOLUME``: not such a file, or the array would come from somewhere else than from within it.
    DependencyMissing
        h5py is not installed.
    """
    try:
        import h5py  # type: ignore[import-untyped]
    except ModuleNotFoundError as error:
        raise DependencyMissing(
            "the MATLAB files of this data set are read with h5py, which is not installed", next_step="pip install h5py"
        ) from error
    if not path.is_file():
        raise storage_error(path, FileNotFoundError(2, "no such file"))
    try:
        with h5py.File(path, "r") as file:
            parts = name.split("/")
            places = ["/".join(parts[: count + 1]) for count in range(len(parts))]
            # HDF5 can point to other files; a data set has no business there.
            if not all(isinstance(file.get(place, getlink=True), h5py.HardLink) for place in places):
                raise _broken(path, f"{name} is not in it")
            found = file[name]
            if not isinstance(found, h5py.Dataset) or found.is_virtual or found.external:
                raise _broken(path, f"{name} is not an array of its own")
            return np.asarray(found[()])
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise _broken(path, "not a MATLAB file of version 7.3") from error


def _broken(path: Path, why: str) -> ImageError:
    return ImageError("BROKEN_VOLUME", f"{path.name}: {why}", next_step="unpack the archive again")
