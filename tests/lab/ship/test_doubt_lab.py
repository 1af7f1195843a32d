"""Fitting doubt at deployment: on the model that ships, limits from val alone, and nothing promised from too few."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import quantizing
from fitting import fitted, split

from edgedx.core.preprocess import normalise
from edgedx.core.stats.conformal import SetThresholds
from edgedx.core.stats.ood import unpack_space
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.lab.ship.doubt import broken_promises, describe, describe_missing


def test_limits_let_pass_all_but_one_in_a_hundred_of_val(tmp_path: Path) -> None:
    data = split(200, 120)
    found, model = fitted(tmp_path, data)
    limits = found.doubt.ood["fp32"]
    assert limits.file == "ood-fp32.npz" and limits.images == 120 and limits.distance is not None
    with OnnxRunner(model) as runner:
        parts = [runner.infer(normalise(part, quantizing.SPEC)) for part in data.subset("val").batches(50)]
    features = np.concatenate([part.features for part in parts])  # type: ignore[misc]
    scores = unpack_space(found.parts["ood-fp32.npz"], 8, "x").distance(features)
    assert limits.distance == pytest.approx(scores.max(), rel=1e-5)  # of rank ceil(121 * .99): of 120 the greatest
    assert found.doubt.cam == {"fp32": (32, 32)} and found.doubt.missing == {}
    assert found.doubt.sets["fp32"].cases == {"dark": 60, "bright": 60}
    assert describe(found.doubt, "fp32", "refuse") == [
        "images unlike those of the training are refused; of images such as the 120 of val, 99% pass",
        "sets of classes that hold the true one in 90% of images such as those of val",
    ]


def test_from_too_few_images_nothing_is_promised_and_the_bundle_says_so(tmp_path: Path) -> None:
    found, _ = fitted(tmp_path, split(40, 16))
    assert not found.doubt.ood and not found.doubt.sets and not found.parts
    assert found.doubt.missing["ood"] == "fp32: 16 images in val; 99 are needed to promise that 99% pass"
    assert "dark: 8 cases; 9 are needed" in found.doubt.missing["sets"]
    assert [line.partition(" (")[0] for line in describe_missing(found.doubt)] == [
        "no image is refused for being unlike the training images", "no prediction sets"]  # fmt: skip
    assert describe(found.doubt, "fp32", "refuse") == []


def test_a_promise_that_test_shows_to_be_broken_is_not_made(tmp_path: Path) -> None:
    data = split(200, 120)
    found, _ = fitted(tmp_path, data, test=200)
    assert "fp32" in found.doubt.sets, "a test such as val breaks no promise"
    (tmp_path / "other").mkdir()
    found, _ = fitted(tmp_path / "other", data, test=200, shifted=True)
    assert not found.doubt.sets
    said = found.doubt.missing["sets"]
    assert said.startswith("fp32: on test the sets hold the true class of ") and "where 90% were promised" in said
    assert any(line.startswith("no prediction sets (fp32: on test") for line in describe_missing(found.doubt))


@pytest.mark.parametrize(("held", "broken"), [(62, ["ill 62% of 100"]), (85, []), (90, []), (100, [])])
def test_what_chance_allows_is_not_called_broken(held: int, broken: list[str]) -> None:
    """62 of 100 for 90 of 100 is no chance; 85 of 100, after 99 images of calibration, is."""
    sets = SetThresholds(alpha=0.1, least={"ill": 0.5, "well": 0.0}, cases={"ill": 99, "well": 99})
    chances = np.where(np.arange(100) < held, 0.9, 0.1)
    assert broken_promises(sets, ["well", "ill"], np.ones(100), np.stack([1 - chances, chances], 1)) == broken


def test_a_variant_without_a_map_brings_its_reason_along(tmp_path: Path) -> None:
    found, _ = fitted(tmp_path, split(40, 20), no_cam="the classifier reads HardSwish")
    assert found.doubt.cam == {}
    assert found.doubt.missing["cam"] == "fp32: the classifier reads HardSwish"
