"""Classical baselines: HOG as published, settings chosen on val, answers that compare reads, nothing done twice."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tiny
from sklearn.metrics import roc_auc_score

from edgedx.core.settings.recipe import Recipe
from edgedx.lab.data.dataset import build_dataset
from edgedx.lab.evidence.compare import baselines as module
from edgedx.lab.evidence.compare.baseline_features import frozen_features, grey, hog
from edgedx.lab.evidence.compare.baselines import GRIDS, Setting, baselines, features_of, logits_of
from edgedx.lab.evidence.compare.lineup import line_up


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recipe, Path, dict]:  # type: ignore[type-arg]
    """A run with a data set of 60 patients, and its baselines."""
    folder = tmp_path_factory.mktemp("baselines")
    tiny.write_set(folder / "set", patients=60)
    recipe = tiny.recipe(folder / "set", data={"fractions": [0.6, 0.2, 0.2]})
    build_dataset(recipe, folder / "run" / "data")
    return recipe, folder / "run", baselines(recipe, folder / "run")


# Features


def _hog_of_one(image: np.ndarray) -> np.ndarray:
    """Dalal & Triggs 2005, pixel by pixel: votes of a gradient go to the two nearest of nine bins of 20 degrees."""
    height, width = image.shape
    cells = np.zeros((height // 8, width // 8, 9))
    for y in range(height // 8 * 8):
        for x in range(width // 8 * 8):
            dy = image[y + 1, x] - image[y - 1, x] if 0 < y < height - 1 else 0.0
            dx = image[y, x + 1] - image[y, x - 1] if 0 < x < width - 1 else 0.0
            angle, size = np.degrees(np.arctan2(dy, dx)) % 180, np.hypot(dy, dx)
            low = int(np.floor((angle - 10) / 20))
            share = (angle - (low * 20 + 10)) / 20
            cells[y // 8, x // 8, low % 9] += size * (1 - share)
            cells[y // 8, x // 8, (low + 1) % 9] += size * share
    found = []
    for row in range(height // 8 - 1):
        for column in range(width // 8 - 1):
            block = np.concatenate([cells[row + a, column + b] for a in (0, 1) for b in (0, 1)])
            block = np.minimum(block / np.sqrt((block**2).sum() + 1e-6), 0.2)
            found.append(block / np.sqrt((block**2).sum() + 1e-6))
    return np.concatenate(found)


def test_hog_is_that_of_dalal_and_triggs() -> None:
    images = np.random.default_rng(0).random((2, 26, 40)).astype(np.float32)
    found = hog(images)
    assert found.shape == (2, 2 * 4 * 36)
    np.testing.assert_allclose(found, [_hog_of_one(image) for image in images.astype(float)], atol=2e-4)


def test_hog_sees_edges_and_not_brightness() -> None:
    image = np.zeros((1, 32, 32), np.float32)
    image[:, :, 16:] = 0.5
    np.testing.assert_allclose(hog(image), hog(image + 0.4), atol=1e-5)
    across = hog(image).reshape(-1, 9).sum(axis=0)
    down = hog(image.transpose(0, 2, 1)).reshape(-1, 9).sum(axis=0)
    assert across[[0, 8]].sum() > 0.99 * across.sum() > 0  # a gradient along x: 0 degrees, which is 180
    assert down[4] > 0.99 * down.sum() > 0


def test_large_colour_images_become_small_and_grey() -> None:
    found = grey(np.full((2, 100, 200, 3), 65535, np.uint16), 16)
    assert found.shape == (2, 32, 64) and found.min() == pytest.approx(1.0)


# Methods


def test_every_baseline_learns_an_easy_task_and_is_judged_as_a_network_is(made: tuple) -> None:  # type: ignore[type-arg]
    recipe, run, found = made
    assert sorted(found) == sorted(
        f"{one}-{two}" for one in ("pixels", "hog") for two in GRIDS
    )  # no weights: no frozen
    lineup = line_up([run / "baselines"])
    assert sorted(lineup.answers) == sorted(found) and len(lineup.cases) == 24
    truth = np.asarray(lineup.cases.labels)
    for name, record in found.items():
        metrics = record["metrics"]
        told = lineup.answers[name]
        assert metrics["test"]["auc"]["value"] == pytest.approx(roc_auc_score(truth, told.scores[:, 1]), abs=1e-6)
        best = max(one["val_auc"] for one in metrics["tried"])
        assert best == pytest.approx(metrics["val"]["auc"]["value"])
        assert len(metrics["tried"]) == len(GRIDS[name.partition("-")[2]])
        assert metrics["test"]["operating_point"] == "youden" and 0 < metrics["temperature"] < 20
    assert max(record["metrics"]["test"]["auc"]["value"] for record in found.values()) > 0.9
    written = {path.name for path in (run / "baselines").rglob("*") if path.suffix not in ("", ".csv", ".json")}
    assert written == {"log.txt"}  # no pickled model


def test_what_is_finished_is_not_repeated_and_the_rest_is_continued(
    made: tuple,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[type-arg]
) -> None:
    recipe, run, found = made
    before = (run / "baselines" / "hog-svm" / "test.csv").read_bytes()
    lost = run / "baselines" / "hog-svm" / "stage.json"
    lost.unlink()
    begun = {"fingerprint": found["hog-svm"]["fingerprint"]}
    (run / "baselines" / "hog-svm" / ".begun.json").write_text(json.dumps(begun))  # as a killed run leaves it
    asked: list[str] = []
    real = features_of
    monkeypatch.setattr(module, "features_of", lambda feature, *more: asked.append(feature) or real(feature, *more))
    again = baselines(recipe, run)
    assert asked == ["hog"] and [name for name, one in again.items() if not one["reused"]] == ["hog-svm"]
    assert (run / "baselines" / "hog-svm" / "test.csv").read_bytes() == before  # the same seed, the same answers


@pytest.mark.parametrize("method", sorted(GRIDS))
def test_three_classes_and_findings_with_unknown_labels(method: str) -> None:
    rng = np.random.default_rng(0)
    three = np.arange(90) % 3
    findings = (rng.random((90, 2)) < 0.5).astype(float)
    for task, labels, classes in (("multiclass", three, 3), ("multilabel", findings, 2)):
        values = np.eye(3)[labels] if task == "multiclass" else labels
        features = {
            split: (values + rng.normal(0, 0.3, values.shape)).astype(np.float32) for split in ("train", "val", "test")
        }
        known = np.array(labels, float)
        if task == "multilabel":
            known[:30, 1] = np.nan
        parts = {split: tiny.dataset(known if task == "multilabel" else labels) for split in ("train", "val")}
        found = logits_of(Setting(method, GRIDS[method][-1], 0), task, classes, features, parts)
        assert found["val"].shape == found["test"].shape == (90, classes) and np.isfinite(found["test"]).all()
        target = np.eye(3)[labels] if task == "multiclass" else labels
        assert all(roc_auc_score(target[:, k], found["test"][:, k]) > 0.9 for k in range(classes)), task
        if task == "multiclass":
            np.testing.assert_allclose(np.exp(found["test"]).sum(axis=1), 1, atol=1e-6)


def test_frozen_features_are_those_of_the_pretrained_network(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from edgedx.lab.network.backbone import WithFeatures, build_model

    recipe = tiny.recipe()
    model = build_model("test_efficientnet", 2, recipe.preprocess)
    save_file(model.state_dict(), tmp_path / "w.safetensors")
    recipe = tiny.recipe(model={"weights": str(tmp_path / "w.safetensors")})
    data = tiny.dataset(np.zeros(5, np.int64))
    found = frozen_features(data, recipe)
    from edgedx.core.preprocess import normalise

    with torch.no_grad():
        expected = WithFeatures(model)(torch.from_numpy(normalise(data.canvases, recipe.preprocess)))[1]
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5)
    assert found.std() > 0


def test_an_svm_takes_no_more_images_than_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FOR_SVM", 40)
    rows = module._rows_for("svm", np.zeros(100), 0)
    assert len(set(rows.tolist())) == 40 and rows.max() > 40 and len(module._rows_for("knn", np.zeros(100), 0)) == 100
