"""What columns are worth: the same images asked with them and without, by checkpoint and by table."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
import yaml

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.core.stats.points import OperatingPoint
from edgedx.lab.data.dataset import build_dataset, load_dataset
from edgedx.lab.judge.ensemble import mean_of
from edgedx.lab.judge.evaluation import evaluate
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import save_checkpoint
from edgedx.lab.network.column_head import WithColumns, with_columns
from edgedx.lab.run.card import ModelCard

USE = [{"name": "age", "kind": "number"}]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose teacher is blind to the image and right about the age, which a quarter of the images lack."""
    folder = tmp_path_factory.mktemp("worth")
    entries = tiny.write_set(folder / "set", patients=60)
    for place, entry in enumerate(entries):
        old = tiny.CLASSES.index(entry["label"]) == 1
        entry["age"] = "" if place % 4 == 0 else str((70 if old else 30) + place % 20)
    tiny.write_table(folder / "set", entries)
    recipe = tiny.recipe(folder / "set", columns={"use": USE}, data={"fractions": [0.3, 0.2, 0.5]})
    (folder / "run").mkdir()
    (folder / "run" / "recipe.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    build_dataset(recipe, folder / "run" / "data")
    save(folder / "run" / "teacher", recipe, load_dataset(folder / "run" / "data", "binary", recipe.preprocess).fitted)
    return folder / "run"


def save(folder: Path, recipe: Recipe, columns: tuple) -> None:  # type: ignore[type-arg]
    torch.manual_seed(0)
    whole = with_columns(build_model("test_efficientnet", 2, recipe.preprocess), columns, 2)
    assert isinstance(whole, WithColumns)
    with torch.no_grad():
        whole.head.weight_in[:] = torch.tensor([1.0, 0.0])
        whole.head.bias_in[:] = 4.0
        whole.head.weight_out[:] = torch.tensor([[-0.1], [0.1]])
    card = ModelCard(backbone="test_efficientnet", task=recipe.task, preprocess=recipe.preprocess, role="teacher",
                     weights_from="none", columns=list(columns),
                     operating_points=[OperatingPoint(name="argmax", threshold={})])  # fmt: skip
    save_checkpoint(folder, whole, card)


def test_an_evaluation_says_what_the_columns_are_worth(run: Path) -> None:
    found = evaluate(open_subject(run / "teacher"), resamples=100)
    assert found.worth is not None
    worth = found.worth.to_dict()
    assert worth["auc"]["value"] == pytest.approx(found.figures.overall["auc_roc"].value)
    assert worth["auc"]["value"] > 0.8 and 0.3 < worth["auc_without"]["value"] < 0.7
    assert worth["gain"]["value"] == pytest.approx(worth["auc"]["value"] - worth["auc_without"]["value"])
    assert worth["gain"]["low"] > 0.1 and worth["known"]["age"] == pytest.approx(0.75, abs=0.06)
    assert "age (" in found.worth.sentence and "absent" in found.worth.sentence
    assert found.to_dict()["columns"] == worth


def test_a_table_tells_the_columns_too(run: Path, tmp_path: Path) -> None:
    subject = open_subject(run / "teacher")
    rows = [["image", "label", "age"]]
    for place in range(24):
        bright = place % 2 == 1
        tiny.write_picture(tmp_path / f"{place}.png", tiny.picture(5000 + place, bright=bright))
        rows.append([f"{place}.png", tiny.CLASSES[bright], "unknown" if place < 4 else str(75 if bright else 35)])
    with (tmp_path / "t.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    found = evaluate(subject, data=tmp_path / "t.csv", resamples=100)
    assert found.worth is not None and found.worth.known["age"] == pytest.approx(20 / 24)
    assert found.figures.overall["auc_roc"].value > 0.9
    assert found.asked.columns is not None and found.asked.without is not None
    assert np.array_equal(found.asked.logits[:4], found.asked.without[:4])


def test_columns_that_were_fitted_elsewhere_are_another_encoding(run: Path) -> None:
    subject = open_subject(run / "teacher")
    other = run / "other"
    recipe = subject.recipe
    assert recipe is not None
    save(other, recipe, tuple(one.model_copy(update={"mean": one.mean + 1}) for one in subject.columns))
    with pytest.raises(UsageError, match="other columns"):
        evaluate(open_subject(other), resamples=100)
    with pytest.raises(UsageError, match="other columns"):
        mean_of([subject, open_subject(other)])


def test_an_ensemble_is_told_the_columns_as_its_members_are(run: Path) -> None:
    one = evaluate(open_subject(run / "teacher"), resamples=100)
    both = evaluate(mean_of([open_subject(run / "teacher"), open_subject(run / "teacher")]), resamples=100)
    assert both.figures.overall["auc_roc"].value == pytest.approx(one.figures.overall["auc_roc"].value)
    assert both.worth is not None
