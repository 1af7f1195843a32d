"""`edgedx recipes` says where data is to be had, under which licence, and what training would cost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from inprocess import edgedx

from edgedx.core.settings.recipe import list_recipes, load_recipe


def test_the_list_names_page_licence_and_estimate(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "recipes", "list")
    assert done.returncode == 0
    for name in list_recipes():
        recipe = load_recipe(name)
        own = done.stdout.partition(f"\n{name} " if not done.stdout.startswith(name) else name)[2]
        facts = own.split("\n\n")[0].splitlines()[:3]
        assert recipe.title in facts[0] and recipe.licences["data"] in facts[1]
        if recipe.origin.page:
            assert recipe.origin.page in facts[2] and "(estimated)" in facts[2]


def test_the_list_for_scripts_marks_estimates_as_such(tmp_path: Path) -> None:
    rows = {row["name"]: row for row in json.loads(edgedx(tmp_path, "recipes", "list", "--json").stdout)["recipes"]}
    luna = rows["luna16"]
    assert luna["gpu_hours_estimated"] > 0 and "images x" in luna["gpu_hours_arithmetic"]
    assert luna["origin"]["page"].startswith("https://luna16.") and "CC-BY-4.0" in luna["licences"]["data"]
    assert rows["phantom"]["gpu_hours_estimated"] is None


def test_the_list_says_which_data_is_here(tmp_path: Path) -> None:
    (tmp_path / "luna16").mkdir()
    listed = edgedx(tmp_path, "recipes", "list").stdout
    assert listed.count("HERE:") == 1 and f"HERE: {tmp_path / 'luna16'}, from https://luna16." in listed
    assert "not here, from https://www.kaggle" in listed and "made by edgedx itself" in listed
    rows = {row["name"]: row for row in json.loads(edgedx(tmp_path, "recipes", "list", "--json").stdout)["recipes"]}
    assert rows["luna16"]["data"] == str(tmp_path / "luna16") and rows["cbis-ddsm"]["data"] is None


def test_a_misspelt_recipe_is_told_the_nearest(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "finetune", "pneumonia-minst")
    assert done.returncode == 2 and "did you mean 'pneumonia-mnist'?" in done.stderr


@pytest.mark.parametrize("name", ["luna16", "phantom"])
def test_what_is_shown_is_a_recipe(tmp_path: Path, name: str) -> None:
    shown = edgedx(tmp_path, "recipes", "show", name).stdout
    (tmp_path / "mine.yaml").write_text(shown)
    assert load_recipe(str(tmp_path / "mine.yaml")) == load_recipe(name)
    assert yaml.safe_load(shown)["licences"]["data"] == load_recipe(name).licences["data"]
    assert shown.startswith("# about ") == (name == "luna16")


def test_data_that_is_not_here_is_told_with_where_to_get_it(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "finetune", "nih-chestxray14", "--out", str(tmp_path / "run"))
    assert done.returncode == 5
    message = " ".join(done.stderr.split())
    assert "https://nihcc.app.box.com/v/ChestXray-NIHCC" in message and "train_val_list.txt" in message
    assert "no restriction on use" in message
