"""Out of distribution: the scores against their textbook forms, the limit's promise, and what a bundle may hold."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edgedx.core.errors import BundleError
from edgedx.core.stats.ood import energy, fit_space, limit_for, pack_space, unpack_space


def two_classes(count: int = 400, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features of two classes around means 0 and 3, wide in the first direction, narrow in the others."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    spread = rng.normal(size=(count, 6)) * np.array([5.0, 2.0, 1.0, 0.5, 0.5, 0.5])
    return spread + 3.0 * labels[:, None], labels


def test_with_all_directions_it_is_the_mahalanobis_distance_to_the_nearest_mean() -> None:
    features, labels = two_classes()
    space = fit_space(features, labels, directions=5)  # the sixth alone is "the rest", so nothing is shrunk
    means = np.stack([features[labels == k].mean(axis=0) for k in (0, 1)])
    spread = features - means[labels]
    inverse = np.linalg.inv(spread.T @ spread / (len(features) - 2))
    fresh = two_classes(50, seed=1)[0]
    squared = np.min([np.einsum("nd,de,ne->n", fresh - mean, inverse, fresh - mean) for mean in means], axis=0)
    assert np.allclose(space.distance(fresh), np.sqrt(squared / 6), rtol=1e-5)


def test_training_images_lie_at_about_one_and_a_step_along_a_narrow_direction_is_far() -> None:
    features, labels = two_classes()
    space = fit_space(features, labels)
    assert np.sqrt(np.mean(space.distance(features) ** 2)) == pytest.approx(1.0, abs=0.05)
    wide, narrow = np.eye(6)[0] * 5, np.eye(6)[5] * 5
    assert space.distance(narrow[None])[0] > 3 * space.distance(wide[None])[0]


def test_with_fewer_images_than_features_directions_that_none_of_them_took_are_far() -> None:
    rng = np.random.default_rng(0)
    features = np.c_[rng.normal(size=(30, 10)), np.zeros((30, 90))]  # 90 dead features
    space = fit_space(features, None)
    alive = features.mean(axis=0)
    awake = alive + np.eye(100)[50]  # one of them wakes up
    assert np.isfinite(space.distance(features)).all()
    assert space.distance(awake[None])[0] > 10 * space.distance(features).max()


def test_energy_is_minus_log_sum_exp_and_bears_large_logits() -> None:
    logits = np.array([[1.0, 2.0], [1000.0, 999.0]])
    assert energy(logits) == pytest.approx([-np.log(np.exp(1) + np.exp(2)), -1000 - np.log1p(np.exp(-1))])


@pytest.mark.parametrize("images", [99, 150, 523])
def test_the_limit_lets_99_of_100_new_images_pass(images: int) -> None:
    rng = np.random.default_rng(images)
    passed = []
    for _ in range(400):
        scores = rng.lognormal(size=images + 200)
        limit = limit_for(scores[:images])
        assert limit is not None
        passed.append(np.mean(scores[images:] <= limit))
    assert 0.989 <= np.mean(passed) <= 0.998  # at least .99, and at most 1 / (images + 1) more


def test_98_images_cannot_promise_that() -> None:
    assert limit_for(np.arange(98.0)) is None
    assert limit_for(np.arange(99.0)) == 98.0


def test_a_packed_space_comes_back_and_measures_the_same() -> None:
    features, labels = two_classes()
    space = fit_space(features * np.array([100, 1, 1, 1, 1, 1]), labels)  # one direction a thousand times as wide
    fresh = two_classes(50, seed=1)[0] * np.array([100, 1, 1, 1, 1, 1])
    assert np.allclose(unpack_space(pack_space(space), 6, "x").distance(fresh), space.distance(fresh), rtol=5e-3)


def packed(**changes: np.ndarray) -> bytes:
    """A part with some arrays changed."""
    with np.load(io.BytesIO(pack_space(fit_space(*two_classes())))) as archive:
        arrays = {**archive, **changes}
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "malformed"),
        (b"PK\x03\x04 and no more", "malformed"),
        (packed(means=np.zeros((2, 5), np.float32)), "6 features"),
        (packed(basis=np.zeros((6, 3), np.float16)), "do not fit"),
        (packed(variances=np.zeros(5, np.float32)), "variance"),
        (packed(rest=np.float64("nan")), "not a number"),
        (packed(means=np.full((1, 6), np.inf)), "not a number"),
        (packed(means=np.array([[object()]])), "malformed"),
        (packed(more=np.zeros(9 << 20)), "too large"),  # 72 MB that were packed into 70 kB
    ],
)
def test_a_malformed_part_is_a_bundle_error_and_nothing_is_unpickled(data: bytes, why: str) -> None:
    with pytest.raises(BundleError, match=why):
        unpack_space(data, 6, "part ood.npz")
