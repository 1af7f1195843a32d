"""What is no disease and tells the class is named: rare sizes, borders, sources; also on the shared sets."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import tiny

from edgedx.core.settings.recipe import load_recipe
from edgedx.lab.data.prepare import data_stage, open_data
from edgedx.lab.data.start.border import border_tells
from edgedx.lab.data.start.check import DataCheck, check_data
from edgedx.lab.data.start.confounders import TOGETHER, find_confounders
from edgedx.lab.data.start.markers import find_markers
from edgedx.lab.data.start.shortcuts import FILE, shortcuts_of_run
from edgedx.lab.run.run import Run

ROOT = Path(__file__).resolve().parents[4]


def test_a_rare_size_of_one_class_is_named_though_no_auc_shows_it() -> None:
    labels = np.repeat([0.0, 1.0], 200)
    units = [f"p{number // 2}" for number in range(400)]
    facts = [{"width": 312.0 if number >= 376 else 256.0, "site": "a" if number % 2 else "b"} for number in range(400)]
    assert find_confounders(facts, labels, ["well", "sick"], units) == []
    (found,) = find_markers(facts, labels, ["well", "sick"], units)
    assert (found.fact, found.value, found.label, found.images, found.patients) == (
        "width",
        "other than 256",
        "sick",
        24,
        12,
    )
    assert found.share == 1 and found.elsewhere == pytest.approx(176 / 376) and found.p < 0.001
    assert found.sentence.startswith("all 24 images of width other than 256 are sick (12 patients; 47% of the others")
    two_patients = [f"p{number}" if number < 376 else "pq"[number % 2] for number in range(400)]
    assert find_markers(facts, labels, ["well", "sick"], two_patients) == []  # two patients can be alike by chance
    assert find_markers(facts, np.stack([labels, 1 - labels], axis=1), ["well", "sick"], units) == []


def test_letters_at_the_rim_are_found_and_a_lesion_in_the_middle_is_not() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(120) % 2
    images = rng.integers(60, 90, (120, 64, 64)).astype(np.uint8)
    middle, rim = images.copy(), images.copy()
    middle[labels == 1, 20:44, 20:44] += 60
    rim[labels == 1, 1:4, 50:60] = 255
    told = {name: border_tells(one, range(120), 8, labels.astype(float), ["a", "b"], [f"p{n // 2}" for n in range(120)])
            for name, one in (("middle", middle), ("rim", rim))}  # fmt: skip
    assert told["rim"][0].auc > 0.95 and told["rim"][0].label == "b"
    assert told["middle"][0].low < 0.6
    colour = np.repeat(rim[..., None].astype(np.uint16) * 257, 3, axis=3)
    found = border_tells(colour, range(120), 16, labels.astype(float), ["a", "b"], [str(n) for n in range(120)])
    assert found[0].auc > 0.95


def test_size_and_format_are_asked_together_too() -> None:
    rng = np.random.default_rng(1)
    tall, dense = rng.integers(0, 2, 300), rng.integers(0, 2, 300)
    labels = (tall ^ dense).astype(float)  # neither alone says anything
    facts = [
        {"height": 100.0 + 50 * one, "bytes per pixel": 0.1 + 0.2 * two} for one, two in zip(tall, dense, strict=True)
    ]
    found = find_confounders(facts, labels, ["well", "sick"], [str(n) for n in range(300)])
    assert [one.fact for one in found] == [TOGETHER] and found[0].auc > 0.9


def test_an_address_counts_by_its_site(tmp_path: Path) -> None:
    entries = tiny.with_splits(tiny.write_set(tmp_path))
    for number, entry in enumerate(entries):
        site = "one.example" if entry["label"] == "bright" else "two.example"
        entry["address"] = f"https://{site}/case/{number}"
    tiny.write_table(tmp_path, entries)
    found = check_data(tiny.recipe(tmp_path, data={"subgroup_columns": ["address"]}), tmp_path / "out")
    assert [(one.fact, one.auc) for one in found.confounders] == [("address", 1.0)]
    kept = json.loads((tmp_path / "out/check.json").read_text())
    assert kept["confounders"] and kept["border"] == [one.to_dict() for one in found.border]


def test_a_run_keeps_what_was_found_until_its_data_changes(tmp_path: Path) -> None:
    entries = tiny.write_set(tmp_path / "set")
    for entry in entries:
        entry["maker"] = entry["label"]
    tiny.write_table(tmp_path / "set", entries)
    recipe, run = tiny.recipe(tmp_path / "set", data={"subgroup_columns": ["maker"]}), Run(tmp_path / "run")
    data_stage(recipe, run)
    found = shortcuts_of_run(run, recipe)
    assert found.facts[0].fact == "maker" and "a network may learn that instead: maker alone" in found.sentences[0]
    assert shortcuts_of_run(run, recipe) == found
    kept = json.loads((run.path / FILE).read_text())
    assert kept["data"] == open_data(recipe, run).digest
    (run.path / FILE).write_text(json.dumps({**kept, "data": "another", "confounders": []}))
    assert shortcuts_of_run(run, recipe) == found


# The shared sets


def _checked(name: str, out: Path) -> DataCheck:
    folder = os.environ.get("EDGEDX_DATA")
    recipe = load_recipe(str(ROOT / "benchmarks" / "modalities" / f"{name}.yaml"), ["preprocess.size=[48, 48]"])
    if not folder or not (Path(folder) / str(recipe.data.path)).is_dir():
        pytest.skip(f"EDGEDX_DATA holds no {recipe.data.path}")
    return check_data(recipe, out)


def test_the_sizes_of_the_lung_set_are_named(tmp_path: Path) -> None:
    found = _checked("ct-lung", tmp_path)
    sizes = {one.fact for one in found.markers if one.label == "malignant"}
    assert sizes & {"width", "aspect ratio"}
    assert any("images of width other than 256 are malignant" in warning for warning in found.warnings)


def test_the_origins_of_the_covid_set_are_named(tmp_path: Path) -> None:
    found = _checked("covid", tmp_path)
    assert {"source_url", "license"} <= {one.fact for one in found.confounders}
    assert any("source_url alone tells covid19" in warning for warning in found.warnings)


@pytest.mark.slow
def test_the_sources_of_the_brain_set_are_named_by_their_border_and_their_bytes(tmp_path: Path) -> None:
    found = _checked("brain", tmp_path)
    assert {one.label for one in found.border if one.low > 0.8} >= {"no_tumour"}
    assert {one.label for one in found.confounders if one.fact == "bytes per pixel"} >= {"no_tumour"}
