"""Conformal sets: the promise kept class by class, and thresholds as an independent implementation finds them."""

from __future__ import annotations

import numpy as np
import pytest

from edgedx.core.stats.conformal import calibrate, cases_needed, coverage, in_words, least_probability, members

CLASSES = ["normal", "rare"]


def answers(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels, one in five rare, and probabilities of a model that is worse at the rare class."""
    rng = np.random.default_rng(seed)
    labels = (rng.random(count) < 0.2).astype(int)
    rare = rng.beta(np.where(labels == 1, 2.0, 1.0), np.where(labels == 1, 2.0, 6.0))
    return labels, np.c_[1 - rare, rare]


def test_every_class_is_covered_as_promised_the_rare_one_too() -> None:
    found = []
    for seed in range(200):
        labels, probabilities = answers(1000, seed)
        thresholds = calibrate(CLASSES, labels[:500], probabilities[:500])
        found.append([*coverage(thresholds, CLASSES, labels[500:], probabilities[500:]).values()])
    normal, rare = np.mean(found, axis=0)
    assert 0.895 <= normal <= 0.91
    assert 0.895 <= rare <= 0.915  # at least 0.9, and at most 1 / (cases + 1) more


def test_thresholds_are_those_of_mapie() -> None:
    mapie = pytest.importorskip("mapie.classification", reason="MAPIE is not installed: pip install mapie")
    base = pytest.importorskip("sklearn.base")

    class Fixed(base.ClassifierMixin, base.BaseEstimator):  # type: ignore[misc, name-defined]
        """A fitted classifier whose input is its answer."""

        def fit(self, x: np.ndarray, y: np.ndarray) -> Fixed:
            self.classes_ = np.arange(2)
            return self

        def predict_proba(self, x: np.ndarray) -> np.ndarray:
            return x

        def predict(self, x: np.ndarray) -> np.ndarray:
            return x.argmax(axis=1)

    labels, probabilities = answers(600, 3)
    new = answers(300, 4)[1]
    mine = calibrate(CLASSES, labels, probabilities)
    ours = np.array([[row[k] >= least for k, least in enumerate(mine.least.values())] for row in new])
    for index in (0, 1):  # class-conditional is one split-conformal calibration for each class
        own = labels == index
        theirs = mapie.SplitConformalClassifier(
            Fixed().fit(probabilities, labels), confidence_level=0.9, prefit=True, conformity_score="lac"
        ).conformalize(probabilities[own], labels[own])
        assert np.array_equal(theirs.predict_set(new)[1][:, index, 0], ours[:, index])


@pytest.mark.parametrize("count", [9, 10, 19, 20, 137, 500])
def test_the_threshold_is_numpys_inverted_empirical_quantile(count: int) -> None:
    probabilities = np.random.default_rng(count).random(count)
    level = min(1.0, np.ceil(np.round((count + 1) * 0.9, 9)) / count)
    assert 1 - least_probability(probabilities) == pytest.approx(
        np.quantile(1 - probabilities, level, method="inverted_cdf")
    )


def test_nine_cases_are_needed_at_alpha_one_tenth() -> None:
    assert cases_needed(0.1) == 9
    assert least_probability(np.linspace(0.1, 0.9, 9)) == pytest.approx(0.1)
    labels, probabilities = np.array([0] * 20 + [1] * 8), np.full((28, 2), 0.5)
    with pytest.raises(ValueError, match="class rare: 8 cases; 9 are needed"):
        calibrate(CLASSES, labels, probabilities)


def test_findings_of_multilabel_tasks_are_calibrated_on_images_that_have_them_for_certain() -> None:
    labels = np.array([[1.0, 0.0], [1.0, np.nan]] * 6 + [[0.0, 1.0]] * 10)
    probabilities = np.c_[np.linspace(0.5, 0.9, 22), np.linspace(0.1, 0.8, 22)]
    thresholds = calibrate(["a", "b"], labels, probabilities)
    assert thresholds.cases == {"a": 12, "b": 10}
    assert members(thresholds, {"a": 0.99, "b": 0.0}) == ["a"]


@pytest.mark.parametrize(
    ("names", "multilabel", "words"),
    [
        (["rare"], False, "only rare fits at 90 %"),
        (CLASSES, False, "undecided at 90 % between normal, rare"),
        ([], False, "no class at 90 %"),
        ([], True, "every finding is excluded at 90 %"),
        (["a", "b"], True, "cannot be excluded at 90 %: a, b"),
    ],
)
def test_a_set_is_told_in_words(names: list[str], multilabel: bool, words: str) -> None:
    assert in_words(names, 0.1, multilabel=multilabel).startswith(words)


def test_the_order_of_a_manifest_does_not_matter() -> None:
    labels, probabilities = answers(1000, 0)
    found = calibrate(CLASSES, labels, probabilities)
    turned = found.model_copy(update={"least": dict(reversed(found.least.items()))})
    assert coverage(turned, CLASSES, labels, probabilities) == coverage(found, CLASSES, labels, probabilities)
    one = dict(zip(CLASSES, probabilities[0], strict=True))
    assert members(turned, one) == members(found, one)
