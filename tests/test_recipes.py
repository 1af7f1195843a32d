"""Every shipped recipe is a test case."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from edgedx.core.settings.cost import estimate
from edgedx.core.settings.recipe import Recipe, list_recipes, load_recipe
from edgedx.core.settings.shipped import shipped_folder
from edgedx.lab.data.layouts import LAYOUTS
from edgedx.lab.network.backbone import TESTED, build_model

FILES = sorted(shipped_folder("recipes").glob("*"))


@pytest.fixture(params=FILES, ids=lambda path: path.stem)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def recipe(file: Path) -> Recipe:
    return load_recipe(str(file))


def test_there_are_recipes() -> None:
    assert {path.stem for path in FILES} == set(list_recipes()) >= {"phantom", "pneumonia-mnist"}


def test_it_is_valid_and_named_like_its_file(file: Path, recipe: Recipe) -> None:
    assert file.name == f"{recipe.name}.yaml"
    assert load_recipe(recipe.name) == recipe


def test_it_says_nothing_twice(file: Path, recipe: Recipe) -> None:
    """A key that stands twice in a mapping would silently lose its first value."""
    node = yaml.compose(file.read_text(encoding="utf-8"))
    open_nodes = [node]
    while open_nodes:
        current = open_nodes.pop()
        if isinstance(current, yaml.MappingNode):
            keys = [key.value for key, _ in current.value]
            assert len(keys) == len(set(keys))
            open_nodes += [value for _, value in current.value]


def test_licences_of_data_and_weights_are_named(recipe: Recipe) -> None:
    assert recipe.licences.get("data") and recipe.licences.get("weights")


def test_a_public_set_says_where_to_get_it_and_what_it_costs(recipe: Recipe) -> None:
    about = recipe.origin
    public = recipe.data.source in LAYOUTS
    assert public == bool(about.page and about.cite and about.access and about.unpack and about.limits)
    assert public == (estimate(recipe) is not None)
    for address in filter(None, (about.page, about.cite)):
        assert address.startswith("https://")
    assert not public or bool(about.grouped_by) == (recipe.data.patient_column is not None)
    if public:  # every class is what some label of the set becomes
        assert set(recipe.task.classes) <= set(recipe.data.label_names.values()) | _own(recipe)


def _own(recipe: Recipe) -> set[str]:
    """Classes that the set spells as the recipe does, as names of folders."""
    spelt = {"brain-tumour-mri": {"glioma", "meningioma", "pituitary"}, "busi": {"benign", "malignant", "normal"}}
    return spelt.get(recipe.data.source, set())


def test_generated_data_is_labelled_as_such(recipe: Recipe) -> None:
    assert recipe.synthetic == (recipe.data.source == "phantom")


def test_a_download_has_its_checksum(recipe: Recipe) -> None:
    assert bool(recipe.data.download) == bool(recipe.data.md5)
    assert recipe.data.download is None or recipe.data.download.startswith("https://")


def test_it_works_offline(recipe: Recipe) -> None:
    assert recipe.data.path is None or not Path(recipe.data.path).is_absolute()
    assert recipe.model.backbone in TESTED


def test_its_student_can_be_built(recipe: Recipe) -> None:
    name = recipe.model.backbone if recipe.student.backbone == "same" else recipe.student.backbone
    model = build_model(name, len(recipe.task.classes), recipe.preprocess)
    assert model.num_classes == len(recipe.task.classes)


def test_its_first_operating_point_fits_its_task(recipe: Recipe) -> None:
    if recipe.task.kind == "binary":
        assert recipe.gate.points[0] != "argmax"
