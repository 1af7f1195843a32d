"""Is an image unlike those that a model learned from? Energy of its logits, and the distance of its features.

Only the distance refuses. Measured (benchmarks/ood.py): of other chest radiographs, photographs and other modalities
it finds most, where energy finds next to none; energy decides only for models that export no features.
"""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator
from typing_extensions import Self

from edgedx.core.errors import BundleError

PASS_RATE = 0.99
DIRECTIONS = 128
"""Directions of the features that keep a variance of their own; measured against 16 to 64 and all of them."""
_MAX_BYTES = 64 << 20

Floats = NDArray[np.float64]


class OodLimits(BaseModel):
    """What a variant's scores may be. They were fitted on what this variant answered, through its own kernels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: str | None = Field(None, description="Part with the features' means and covariance; null: energy decides.")
    pass_rate: float = Field(gt=0, lt=1, description="Share of held-out images that each limit lets pass.")
    images: int = Field(ge=1, description="Held-out images (val, of other patients than train) that set the limits.")
    energy: float = Field(description="Greatest energy, minus the log of the sum of exponentials of the logits.")
    distance: float | None = Field(
        None, description="Greatest distance of the features to a class, standard deviations a feature."
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.file is None) != (self.distance is None):
            raise ValueError("file and distance: both or none")
        return self


def energy(logits: ArrayLike) -> Floats:
    """Energy of logits (N, K), shape (N,): high where no class speaks up (Liu et al. 2020, temperature 1)."""
    values = np.asarray(logits, np.float64)
    top = values.max(axis=1)
    return np.asarray(-(top + np.log(np.exp(values - top[:, None]).sum(axis=1))))


def limit_for(scores: ArrayLike, pass_rate: float = PASS_RATE) -> float | None:
    """The score that a new image of the same kind keeps to with probability `pass_rate` at least.

    It is the score of rank ceil((N + 1) pass_rate), which holds whatever the distribution is (split conformal
    prediction, Vovk et al. 2005); None where N is too small for that: 99 images for 0.99.
    """
    ordered = np.sort(np.asarray(scores, np.float64))
    rank = math.ceil((ordered.size + 1) * pass_rate - 1e-9)
    return float(ordered[rank - 1]) if rank <= ordered.size else None


@dataclass(frozen=True)
class FeatureSpace:
    """Where features of training images lie: a mean for each class, and one covariance around them.

    Attributes
    ----------
    means : ndarray of shape (classes, D), float32
    basis : ndarray of shape (D, r), float32
        Directions of the greatest variance, orthonormal.
    variances : ndarray of shape (r,), float32
        Along them.
    rest : float
        Variance along every other direction: the mean of theirs.
    """

    means: NDArray[np.float32]
    basis: NDArray[np.float32]
    variances: NDArray[np.float32]
    rest: float

    def distance(self, features: ArrayLike) -> Floats:
        """Mahalanobis distance of features (N, D) to the nearest class (Lee et al. 2018), over the root of D.

        Features as they are in training lie at about 1.
        """
        values = np.asarray(features, np.float32)
        along = values @ self.basis
        least = np.full(len(values), np.inf)
        for mean, centre in zip(self.means, self._centres, strict=True):
            part = (along - centre).astype(np.float64) ** 2
            whole = ((values - mean).astype(np.float64) ** 2).sum(axis=1)
            squared = (part / self.variances).sum(axis=1) + (whole - part.sum(axis=1)) / self.rest
            least = np.minimum(least, squared)
        return np.asarray(np.sqrt(np.maximum(least, 0.0) / values.shape[1]))

    @cached_property
    def _centres(self) -> NDArray[np.float32]:
        return np.asarray(self.means @ self.basis)


def fit_space(features: ArrayLike, labels: ArrayLike | None, directions: int = DIRECTIONS) -> FeatureSpace:
    """Means by class and the shared covariance, shrunk.

    Parameters
    ----------
    features : array of shape (N, D)
        Of the training split.
    labels : array of shape (N,) or None
        Class indices; None where an image has several classes or none: all have one mean then.
    directions : int
        How many keep their own variance. All others get the mean of theirs, as in probabilistic PCA (Tipping and
        Bishop 1999): what few images cannot tell apart is not divided by, and D x `directions` numbers are stored
        instead of D x D.

    Raises
    ------
    ValueError
        Fewer than two images more than there are classes.
    """
    values = np.asarray(features, np.float64)
    groups = np.zeros(len(values), int) if labels is None else np.asarray(labels, int)
    _, groups = np.unique(groups, return_inverse=True)
    means = np.stack([values[groups == group].mean(axis=0) for group in range(int(groups.max()) + 1)])
    free = len(values) - len(means)
    if free < 2:
        raise ValueError("too few images to fit a covariance")
    spread = values - means[groups]
    found, vectors = np.linalg.eigh(spread.T @ spread / free)
    found, vectors = np.maximum(found[::-1], 0.0), vectors[:, ::-1]
    kept = min(directions, free - 1, len(found) - 1)
    rest = max(float(found[kept:].mean()), 1e-6 * float(found.mean()), 1e-12)
    return FeatureSpace(
        means.astype(np.float32),
        vectors[:, :kept].astype(np.float32),
        np.maximum(found[:kept], rest).astype(np.float32),
        rest,
    )


def pack_space(space: FeatureSpace) -> bytes:
    """As a part of a bundle: an npz without pickles, the basis in 16 bits to spare half of the bytes."""
    stream = io.BytesIO()
    basis, rest = space.basis.astype(np.float16), np.float64(space.rest)
    np.savez(stream, means=space.means, basis=basis, variances=space.variances, rest=rest)
    return stream.getvalue()


def unpack_space(data: bytes, features: int, where: str) -> FeatureSpace:
    """Read a part that `pack_space` wrote.

    Parameters
    ----------
    features : int
        Length that a feature vector must have.
    where : str
        How to name it in an error.

    Raises
    ------
    BundleError
        It is malformed, too large, or of another shape.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if sum(entry.file_size for entry in archive.infolist()) > _MAX_BYTES:
                raise ValueError("too large")
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            means, basis, variances = arrays["means"], arrays["basis"], arrays["variances"]
            rest = float(arrays["rest"])
        if means.ndim != 2 or basis.ndim != 2 or len(means) == 0 or means.shape[1] != features:
            raise ValueError(f"not of {features} features")
        if len(basis) != features or basis.shape[1] > features or variances.shape != basis.shape[1:]:
            raise ValueError("its arrays do not fit each other")
        if not all(np.isfinite(array).all() for array in (means, basis, variances, np.asarray(rest))):
            raise ValueError("a value is not a number")
        if not (variances > 0).all() or not rest > 0:
            raise ValueError("a variance is not positive")
        # 16 bits leave the directions not quite orthonormal, and a wide one would leak into the rest.
        exact = np.linalg.qr(basis.astype(np.float32))[0]
    except (KeyError, ValueError, OSError, TypeError, EOFError, NotImplementedError, zipfile.BadZipFile) as error:
        raise BundleError(f"{where} is malformed: {error}", next_step="deploy the bundle again") from error
    return FeatureSpace(means.astype(np.float32), exact, variances.astype(np.float32), rest)
