"""The robustness table: its scores against scikit-learn, and the command on a tiny run."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve
from sklearn.neighbors import NearestNeighbors

from edgedx.core.errors import DataError
from edgedx.core.preprocess import PreprocessSpec
from edgedx.core.settings.recipe_data import FOREIGN_BUILT_IN
from edgedx.lab.evidence.robustness.foreign import foreign_canvases
from edgedx.lab.evidence.robustness.robustness import fpr95, nearest


def test_nearest_neighbours_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    known, asked = rng.normal(size=(300, 12)).astype(np.float32), rng.normal(size=(400, 12)).astype(np.float32)
    unit, own = (one / np.linalg.norm(one.astype(float), axis=1, keepdims=True) for one in (known, asked))
    expected = NearestNeighbors(n_neighbors=10).fit(unit).kneighbors(own)[0][:, -1]
    np.testing.assert_allclose(nearest(known, asked), expected, atol=1e-9)
    assert nearest(known[:3], asked).shape == (400,)  # fewer than ten are known


def test_fpr95_is_one_minus_the_share_caught_where_95_percent_pass() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.normal(0, 1, 2000), rng.normal(1.5, 1, 1500)
    # scikit-learn: foreign is positive; at a false alarm on 5 % of the own images, so many foreign ones are caught.
    alarms, caught, _ = roc_curve(np.r_[np.zeros(2000), np.ones(1500)], np.r_[inside, outside], drop_intermediate=False)
    assert fpr95(inside, outside) == pytest.approx(1 - np.interp(0.05, alarms, caught), abs=1e-3)
    assert fpr95(inside, inside + 100) == 0.0 and fpr95(inside, inside - 100) == 1.0


@pytest.mark.parametrize("name", FOREIGN_BUILT_IN)
def test_built_in_foreign_sets_need_no_download(name: str) -> None:
    spec = PreprocessSpec(size=(16, 16), bits=8)
    found = foreign_canvases(name, spec)
    assert len(found) >= 20 and found.shape[1:] == (16, 16) and found.std() > 1


def test_a_foreign_set_that_is_not_there_is_an_error_with_a_next_step() -> None:
    with pytest.raises(DataError, match="nowhere"):
        foreign_canvases("nowhere", PreprocessSpec(size=(16, 16), bits=8))
