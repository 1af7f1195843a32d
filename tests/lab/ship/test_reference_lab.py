"""What a bundle takes along about its own images: small, of the right split, and worth what its patients are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import quantizing
from fitting import ENTRY, fitted, split

from edgedx.core.bundle.reference import MOST_BYTES, pack_reference, parse_reference
from edgedx.core.errors import BundleError
from edgedx.core.stats.points import OperatingPoint
from edgedx.core.stats.prevalence import corrected
from edgedx.lab.run.device_build import CompiledVariant
from edgedx.lab.ship import reference as module
from edgedx.lab.ship.reference import _points, fit_correction, fit_references, redraw_correction, worth


def test_it_holds_quantiles_of_val_and_little_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REDRAWN", 2)
    data = split(200, 120)
    found, _ = fitted(tmp_path, data, test=60)
    rows = np.concatenate([np.arange(len(data)), np.arange(200, 260)])
    data = replace(data.take(rows), splits=[*data.splits, *["test"] * 60])
    variants = {"fp32": CompiledVariant("fp32", tmp_path / "fp32.onnx", ENTRY)}
    point = OperatingPoint(name="argmax", threshold={})
    parts = fit_references(quantizing.recipe(), data, variants, found, 1.5, point)
    made = parse_reference(parts["reference-fp32.json"], "x")
    assert made.images == 120 and made.judged_on == "test" and len(parts["reference-fp32.json"]) < MOST_BYTES
    assert {"mean", "contrast", "clipped", "sharpness", "energy", "distance"} <= set(made.numbers)
    assert any(name.startswith("probability:") for name in made.numbers) and sum(made.built.values()) == pytest.approx(
        1
    )
    means = [float(batch.mean()) / 255 for batch in data.subset("val").batches(1)]
    assert made.numbers["mean"].grid[0] == pytest.approx(min(means), rel=1e-3)
    assert made.numbers["mean"].grid[-1] == pytest.approx(max(means), rel=1e-3)
    assert made.unlike == pytest.approx(0, abs=0.02) and made.correction is not None


@pytest.mark.parametrize(("classes", "streams"), [(1, 7), (7, 13), (20, 26), (60, 66)])
def test_however_many_classes_it_stays_small(classes: int, streams: int) -> None:
    assert _points(streams, classes) * (streams + 2 * classes) * 9 < MOST_BYTES


def test_images_of_one_patient_are_worth_less() -> None:
    rng = np.random.default_rng(0)
    values = np.repeat(rng.normal(size=100), 4) + rng.normal(0, 0.05, 400)
    alike, apart = [str(n // 4) for n in range(400)], [str(n) for n in range(400)]
    assert 80 < worth(values, alike) < 150 and worth(values, apart) == 400
    assert worth(rng.normal(size=400), alike) > 250


def test_the_correction_makes_probabilities_honest() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random(4000) < 0.3).astype(float)
    odds = rng.normal(np.where(truth == 1, 2.0, -2.0), 2.0) + np.log(0.3 / 0.7)
    told = 1 / (1 + np.exp(-(0.5 * odds + 1)))  # too timid, and biased
    chances = np.stack([1 - told, told], axis=1)
    found = fit_correction(truth, chances, ["no", "yes"], "binary")
    honest = corrected(chances, list(found.scale.values()), list(found.bias.values()), "binary")[:, 1]
    assert honest == pytest.approx(1 / (1 + np.exp(-odds)), abs=0.06) and found.built["yes"] == pytest.approx(
        truth.mean()
    )
    several = fit_correction(
        np.stack([truth, 1 - truth], axis=1), np.stack([told, 1 - told], axis=1), ["a", "b"], "multilabel"
    )
    assert several.scale["a"] == pytest.approx(2, abs=0.25)
    redrawn = redraw_correction(
        truth[:200], chances[:200], [str(n // 2) for n in range(200)], ["no", "yes"], "binary", 0
    )
    assert len(redrawn) == 20 and len({one.scale["no"] for one in redrawn}) > 10


def test_what_is_malformed_or_too_large_is_refused() -> None:
    with pytest.raises(BundleError, match="x is malformed"):
        parse_reference(b"{}", "x")
    with pytest.raises(BundleError):
        parse_reference(b" " * (MOST_BYTES + 1), "x")
    from monitored import reference

    assert parse_reference(pack_reference(reference()), "x") == reference()
    with pytest.raises(ValueError, match="not in order"):
        reference(numbers={"mean": {"grid": [1.0, 0.0], "worth": 3}})
