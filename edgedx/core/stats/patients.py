"""Which patients are known. An image of an unknown one is a patient of its own, under a key that no table can hold.

Resampling, clustered tests and counts group images by these keys as they stand; who asks whether a patient is known, or
writes one to a file, does so by the functions here. Files hold an empty cell for an unknown patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

_UNKNOWN = "\x00"  # before the key: tables hold no NUL, see `core.table.DAMAGED`


def patient_keys(patients: Iterable[str], images: Iterable[str]) -> list[str]:
    """A key for the patient of each image: `patients`, or where that is empty one of the image (a name or digest)."""
    return [patient or f"{_UNKNOWN}{image}" for patient, image in zip(patients, images, strict=True)]


def known_patients(keys: Sequence[str]) -> NDArray[np.bool_]:
    """Whether the patient of each image is known, of shape (N,)."""
    return np.array([not key.startswith(_UNKNOWN) for key in keys], bool)


def images_of_patients(images: int, patients: int) -> str:
    """``84 images of 42 patients``; as many patients as images are not told: mostly none is known, each counted alone.

    Examples
    --------
    >>> images_of_patients(84, 42), images_of_patients(624, 624)
    ('84 images of 42 patients', '624 images')
    """
    return f"{images} images of {patients} patients" if patients < images else f"{images} images"


def patient_text(key: str) -> str:
    """The patient as a file holds it: empty where none is known."""
    return "" if key.startswith(_UNKNOWN) else key


def independent_cases(patients: ArrayLike) -> float:
    """How many independent images some images of patients are worth at least: (sum m)^2 / sum m^2 (Kish 1965).

    `m` are the images of each patient. It is what is left where all images of a patient go the same way; as many as
    there are images where each is of another patient.

    Parameters
    ----------
    patients : array of shape (N,) of int
        Number of each image's patient.

    Examples
    --------
    >>> independent_cases([0, 1, 2, 3]), independent_cases([0, 0, 1, 1])
    (4.0, 2.0)
    """
    sizes = np.bincount(np.asarray(patients, np.int64)) if np.size(patients) else np.zeros(1)
    return float(sizes.sum() ** 2 / max(1, (sizes**2).sum()))
