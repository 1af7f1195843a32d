"""`edgedx explain`: a run's models side by side, files without names in them, and errors that say what there is."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from bundles import write_tiny
from inprocess import edgedx
from made_run import VARIANTS, write_run

from edgedx.core.preprocess import normalise
from edgedx.lab.data.dataset import load_dataset
from edgedx.lab.evidence.explain.subjects import open_models
from edgedx.lab.network.backbone import build_model
from edgedx.lab.network.checkpoint import save_checkpoint
from edgedx.lab.quantize.cam import add_cam
from edgedx.lab.run.card import ModelCard
from edgedx.lab.run.run import Run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose checkpoints can be opened and whose graphs have maps."""
    made = tmp_path_factory.mktemp("explain")
    recipe = write_run(made)
    run = made / "run"
    torch.manual_seed(0)
    model = build_model("test_efficientnet", 2, recipe.preprocess)
    for role in ("teacher", "student"):
        card = json.loads((run / role / "model.json").read_text())
        save_checkpoint(run / role, model, ModelCard.model_validate(card))
    data = load_dataset(run / "data", recipe.task.kind, recipe.preprocess).subset("val").take(range(8))
    batch = normalise(np.concatenate(list(data.batches(8))), recipe.preprocess)
    for path in (run / "devices/x86-avx2/variants").glob("*.onnx"):
        path.write_bytes(add_cam(path.read_bytes(), batch))
    return made


def test_a_run_is_its_teacher_student_and_what_ships(folder: Path) -> None:
    done = edgedx(folder, "explain", "run", "--count", "3", "--methods", "ig,cam", "--pictures", "1")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("explained 3 images (test), what teacher decides; 3 models")
    assert "int8-u8s8, integrated gradients: n/a" in done.stdout and "not for diagnosis" in done.stdout
    assert "teacher, CAM: n/a, the network has no last feature map with more than one place" in done.stdout
    where = folder / "run" / "explain"
    told = json.loads((where / "explain.json").read_text())
    assert [one["name"] for one in told["models"]] == ["teacher", "student", "int8-u8s8"]
    (one,) = told["fidelity"]  # of the methods that the teacher and another have
    assert (one["model"], one["method"]) == ("student", "ig") and one["spearman"]["value"] == pytest.approx(1.0)
    assert {(one["model"], one["method"]) for one in told["sanity"]} == {("teacher", "ig"), ("student", "ig")}
    files = {one["file"] for one in told["pictures"]}
    assert files == {"fidelity.png", "curves.png", "sanity.png", "image-001.png"}
    assert {path.name for path in where.iterdir()} == files | {"explain.json", "explain.csv", "images.csv"}
    assert all(cv2.imread(str(where / name)).std() > 5 for name in files)
    with (where / "images.csv").open() as stream:
        names = list(csv.DictReader(stream))
    assert [row["number"] for row in names] == ["1", "2", "3"] and names[0]["image"].startswith("images/p")
    text = (where / "explain.json").read_text() + (where / "explain.csv").read_text() + done.stdout
    assert not any(row["image"] in text for row in names)  # one table alone names images


def test_images_from_outside_are_numbered_and_old_pictures_go(folder: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "t.edgedx")
    where = tmp_path / "out"
    where.mkdir()
    (where / "image-009.png").write_bytes(b"of an older call")
    images = folder / "set" / "images"
    given = ["--images", str(images), "--count", "2", "--pictures", "1", "--class", "dark"]
    done = edgedx(tmp_path, "explain", "t.edgedx", *given, "--methods", "lime", "--out", "out", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["data"]["where"] == "given images" and told["data"]["images"] == 2 and told["explained"] == "dark"
    assert sorted(path.name for path in where.glob("image-*")) == ["image-001.png"]
    table = tmp_path / "table.csv"
    table.write_text(f"image,patient_id\n{next(images.iterdir()).name},a\n../secret.png,b\n")
    (tmp_path / next(images.iterdir()).name).write_bytes(next(images.iterdir()).read_bytes())
    done = edgedx(tmp_path, "explain", "t.edgedx", "--images", "table.csv", "--methods", "lime", "--pictures", "0")
    assert done.returncode == 0 and "left out  1: 1 path leaves the folder of the table" in done.stdout
    assert (tmp_path / "explain" / "explain.json").is_file()


def test_masks_say_whether_a_map_points_at_the_finding(folder: Path) -> None:
    masks = folder / "masks"
    images = sorted((folder / "set" / "images").iterdir())
    for number, image in enumerate(images):
        mask = np.zeros(cv2.imread(str(image), cv2.IMREAD_UNCHANGED).shape[:2], np.uint8)
        mask[: len(mask) // 2] = 255
        if number % 2:
            masks.mkdir(exist_ok=True)
            assert cv2.imwrite(str(masks / f"{image.stem}_mask.png"), mask)
    given = ["--count", "12", "--methods", "ig", "--pictures", "2", "--out", "pointed"]
    done = edgedx(folder, "explain", "run/teacher", *given, "--regions", "masks")
    assert done.returncode == 0, done.stderr
    assert "weight in" in done.stdout and "at the border" in done.stdout
    told = json.loads((folder / "pointed" / "explain.json").read_text())
    (one,) = told["regions"]["maps"]
    assert told["regions"]["area"] == pytest.approx(0.5, abs=0.07) and 0 < told["regions"]["images"] < 12
    assert told["regions"]["images"] + told["regions"]["skipped"]["no mask or box"] == 12
    assert one["energy"]["area"]["value"] == pytest.approx(told["regions"]["area"], abs=0.01)
    assert f"{told['regions']['images']} of 12 images have a region (masks of masks" in done.stdout
    with (folder / "pointed" / "explain.csv").open() as stream:
        cells = [row["energy"] for row in csv.DictReader(stream)]
    assert sum(cell != "" for cell in cells) == told["regions"]["images"]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["run", "--methods", "gradcan"], 2, "did you mean gradcam"),
        (["run", "--methods", ","], 2, "names none"),
        (["run", "--class", "grey"], 2, "one of dark, bright"),
        (["run", "--split", "all"], 2, "no such split"),
        (["nothing"], 5, "nothing at nothing"),
        (["run", "--images", "nowhere"], 5, "no such file or folder"),
        (["run", "--regions", "nowhere"], 5, "--regions takes a folder of masks"),
        (["run", "--images", "empty"], 5, "holds no image"),
        ([f"{VARIANTS}/fp32.onnx", "--methods", "gradcam", "--count", "2"], 2, "--methods lime"),
    ],
)
def test_what_cannot_be_done_is_said_with_what_can(folder: Path, arguments: list[str], code: int, told: str) -> None:
    (folder / "empty").mkdir(exist_ok=True)
    done = edgedx(folder, "explain", *arguments)
    assert done.returncode == code and told in done.stderr, done.stderr


def test_what_ships_is_what_compress_chose(folder: Path, tmp_path: Path) -> None:
    import shutil

    run = shutil.copytree(folder / "run", tmp_path / "run")
    assert [one.name for one in open_models([run])] == ["teacher", "student", "int8-u8s8"]
    Run(run).build().choose("fp32", "measured faster")
    assert [one.name for one in open_models([run, run / "teacher"])] == ["teacher", "student", "fp32", "teacher"]
    shutil.rmtree(run / "devices/x86-avx2/variants")
    assert [one.name for one in open_models([run])] == ["teacher", "student"]


def test_models_that_see_images_otherwise_are_not_set_side_by_side(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder / "run" / "student", tmp_path / "other")
    card = json.loads((tmp_path / "other" / "model.json").read_text())
    card["preprocess"]["window"] = "minmax"
    (tmp_path / "other" / "model.json").write_text(json.dumps(card))
    done = edgedx(folder, "explain", "run/teacher", str(tmp_path / "other"), "--methods", "ig")
    assert done.returncode == 2 and "sees images otherwise" in done.stderr
