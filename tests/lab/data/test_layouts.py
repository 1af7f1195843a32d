"""Public data sets are read as they are published: labels, patients, official split, subgroups; what lacks is told."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import made_layouts
import numpy as np
import pytest

from edgedx.core.errors import DataError, ImageError
from edgedx.core.settings.recipe import Recipe, list_recipes, load_recipe
from edgedx.core.settings.recipe_data import Layout
from edgedx.lab.data.dataset import Dataset, build_dataset, load_dataset
from edgedx.lab.data.layouts import LAYOUTS
from edgedx.lab.data.layouts.listing import ABSENT, BOTH, DEVELOPMENT
from edgedx.lab.data.layouts.tuberculosis import person
from edgedx.lab.data.sources import Row, fingerprint, open_source

OFFICIAL_TEST = {  # recipe to whether an image, by its name, is of the official test split
    "nih-chestxray14": lambda name: int(Path(name).name[:8]) > 26,
    "isic2018-task3": lambda name: "Test_Input" in name,
    "eyepacs-dr": lambda name: name.startswith("test/"),
    "cbis-ddsm": lambda name: "-Test_" in name or "P_00001" in name,  # which stands in both official sets
    "brain-tumour-mri": lambda name: name.startswith("Testing/"),
    "kermany-pneumonia": lambda name: "/test/" in name,
    "idrid-dr": lambda name: "b. Testing Set" in name,
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A tiny copy of a recipe's data set, made once; not to be changed."""
    folders: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name == "brain-tumour-figshare":
            pytest.importorskip("h5py", reason="h5py is not installed")
        if name not in folders:
            folders[name] = tmp_path_factory.mktemp(name)
            made_layouts.MAKERS[name](folders[name])
        return folders[name]

    return make


def _recipe(name: str, root: Path, *more: str) -> Recipe:
    return load_recipe(name, [f"data.path={root}", "preprocess.size=[24, 24]", *more])


def _rows(name: str, root: Path, *more: str) -> dict[str, Row]:
    return {Path(row.name).name: row for row in open_source(_recipe(name, root, *more)).rows}


def _built(name: str, root: Path, out: Path, *more: str) -> tuple[Dataset, dict[str, Any], dict[str, str]]:
    """The data set, its summary, and what was excluded with the reason."""
    recipe = _recipe(name, root, *more)
    summary = build_dataset(recipe, out)
    with (out / "excluded.csv").open(newline="") as stream:
        excluded = {row["image"]: row["reason"] for row in csv.DictReader(stream)}
    return load_dataset(out, recipe.task.kind, recipe.preprocess), summary, excluded


def test_every_layout_has_a_reader_and_a_recipe() -> None:
    assert set(LAYOUTS) == set(get_args(Layout))
    sources = {load_recipe(name).data.source: name for name in list_recipes()}
    assert {sources.get(name) for name in LAYOUTS} == set(made_layouts.MAKERS)


@pytest.mark.parametrize("name", sorted(made_layouts.MAKERS))
def test_a_copy_becomes_a_data_set_with_patients_apart_and_the_official_split(
    name: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    data, summary, _ = _built(name, made(name), tmp_path / "data")
    recipe = load_recipe(name)
    assert all(min(counts.values()) > 0 for counts in summary["classes"].values())
    where: dict[str, set[str]] = {}
    for patient, split in zip(data.patients, data.splits, strict=True):
        where.setdefault(patient, set()).add(split)
    assert all(len(splits) == 1 for splits in where.values())
    assert (len(where) < len(data)) == (recipe.data.patient_column is not None)
    assert all(set(groups) == set(recipe.data.subgroup_columns) for groups in data.subgroups)
    assert all(any(groups[column] for groups in data.subgroups) for column in recipe.data.subgroup_columns)
    if name in OFFICIAL_TEST:
        for image, split in zip(data.names, data.splits, strict=True):
            assert (split == "test") == OFFICIAL_TEST[name](image)


# What each copy says


def test_chestxray14_joins_findings_and_takes_val_from_the_patients_for_training(
    made: Callable[[str], Path], tmp_path: Path
) -> None:
    root = made("nih-chestxray14")
    rows = _rows("nih-chestxray14", root)
    classes = load_recipe("nih-chestxray14").task.classes
    assert len(rows) == 80
    for patient in (1, 7, 40):
        row = rows[f"{patient:08d}_001.png"]
        told = {name for name, value in zip(classes, row.label, strict=True) if value == 1}
        assert told == {finding.lower() for finding in made_layouts.findings_of(patient, 1)}
        assert (row.patient, row.split) == (str(patient), "test" if patient > 26 else DEVELOPMENT)
        assert row.subgroups == {"sex": "FM"[patient % 2], "age": f"{30 + patient:03d}Y", "view": "PA"}
    assert rows["00000007_000.png"].label == (0.0,) * 14


def test_chestxray14_prefers_the_later_table_and_names_what_is_in_no_list(tmp_path: Path) -> None:
    made_layouts.chestxray14(tmp_path, patients=4)
    old = (tmp_path / "Data_Entry_2017.csv").read_text().splitlines()
    late = [line.replace("Patient Gender", "Patient Sex").replace("Hernia", "No Finding") for line in old]
    (tmp_path / "Data_Entry_2017_v2020.csv").write_text(
        "\n".join([*late, "00000009_000.png,Mass,0,9,1Y,F,PA,1,1,1,1,"])
    )
    listed = (tmp_path / "test_list.txt").read_text().split()
    (tmp_path / "test_list.txt").write_text("\n".join(listed[1:]))
    (tmp_path / "images_002/images/00000001_000.png").unlink()
    rows = _rows("nih-chestxray14", tmp_path)
    hernia = load_recipe("nih-chestxray14").task.classes.index("hernia")
    assert not any(row.label and row.label[hernia] for row in rows.values())
    assert rows["00000001_001.png"].subgroups["sex"] == "M"
    problems = {name: row.problem for name, row in rows.items() if row.problem}
    assert problems == {
        "00000001_000.png": ABSENT,
        "00000009_000.png": ABSENT,
        listed[0]: "in neither official list",
    }


def test_isic_is_grouped_by_lesion(made: Callable[[str], Path]) -> None:
    rows = _rows("isic2018-task3", made("isic2018-task3"))
    classes = load_recipe("isic2018-task3").task.classes
    one, two, other = (rows[f"ISIC_08{index:05d}.jpg"] for index in (2, 3, 4))
    assert one.patient == two.patient == "HAM_0000001" != other.patient
    assert classes[int(one.label[0])] == "nevus" and classes[int(other.label[0])] == "basal_cell_carcinoma"
    assert one.subgroups == {"confirmed_by": "histopathology"} and one.split == DEVELOPMENT
    assert rows["ISIC_0400006.jpg"].split == "test"


def test_isic_without_its_test_part_is_split_as_a_whole(made: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(made("isic2018-task3"), tmp_path / "set")
    shutil.rmtree(tmp_path / "set/ISIC2018_Task3_Test_Input")
    assert {row.split for row in _rows("isic2018-task3", tmp_path / "set").values()} == {""}


def test_isic_that_marks_two_diagnoses_has_no_label(made: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(made("isic2018-task3"), tmp_path / "set")
    table = tmp_path / "set/ISIC2018_Task3_Training_GroundTruth.csv"
    table.write_text(table.read_text().replace("ISIC_0800000,1.0,0.0", "ISIC_0800000,1.0,1.0"))
    assert _rows("isic2018-task3", tmp_path / "set")["ISIC_0800000.jpg"].problem == "missing label"


def test_eyes_of_one_subject_stay_together_and_grades_become_referral(made: Callable[[str], Path]) -> None:
    rows = _rows("eyepacs-dr", made("eyepacs-dr"))
    left, right = rows["11_left.jpeg"], rows["11_right.jpeg"]
    assert left.patient == right.patient == "11" and left.subgroups == {"eye": "left"}
    told = {name: rows[f"{10 + grade}_left.jpeg"].label for grade, name in enumerate("01234")}
    assert told == {"0": (0.0,), "1": (0.0,), "2": (1.0,), "3": (1.0,), "4": (1.0,)}
    assert (left.split, rows["100_left.jpeg"].split) == (DEVELOPMENT, "test")


def test_eyepacs_without_the_solution_gives_no_split(tmp_path: Path) -> None:
    made_layouts.eyepacs(tmp_path, solution=False)
    assert {row.split for row in _rows("eyepacs-dr", tmp_path).values()} == {""}


def test_aptos_has_five_grades_and_no_patients(made: Callable[[str], Path]) -> None:
    rows = list(_rows("aptos2019-dr", made("aptos2019-dr")).values())
    assert [row.label[0] for row in rows[:6]] == [0, 1, 2, 3, 4, 0]
    assert {row.patient for row in rows} == {""}


def test_a_mammogram_is_one_row_with_its_worst_finding(made: Callable[[str], Path], tmp_path: Path) -> None:
    root = made("cbis-ddsm")
    rows = {(row.patient, row.subgroups["view"]): row for row in open_source(_recipe("cbis-ddsm", root)).rows}
    assert len(rows) == 48
    assert rows["P_00002", "CC"].label == (1.0,) and rows["P_00004", "CC"].label == (0.0,)
    assert rows["P_00002", "CC"].name.endswith("Mass-Training_P_00002_LEFT_CC/07-20-2016-DDSM-NA-00002/"
                                               "1.000000-full mammogram images-24515/1-1.dcm")  # fmt: skip
    assert rows["P_00002", "CC"].subgroups == {"density": "3", "side": "LEFT", "view": "CC", "abnormality": "mass"}
    both = rows["P_00001", "CC"]
    assert (both.split, both.label, both.subgroups["abnormality"]) == ("test", (1.0,), "calcification+mass")


def test_a_patient_in_both_official_sets_is_kept_out_of_training(made: Callable[[str], Path], tmp_path: Path) -> None:
    data, summary, excluded = _built("cbis-ddsm", made("cbis-ddsm"), tmp_path / "data")
    assert summary["excluded"] == {BOTH: 1}
    assert [name for name in excluded if "P_00001_LEFT_MLO" in name] == list(excluded)
    assert {split for patient, split in zip(data.patients, data.splits, strict=True) if patient == "P_00001"} == {
        "test"
    }


def test_a_mammogram_in_the_delivery_of_the_tables_is_found_too(made: Callable[[str], Path], tmp_path: Path) -> None:
    """The classic directory names: the study's and the series' UIDs, no description."""
    shutil.copytree(made("cbis-ddsm"), tmp_path / "set")
    name = "Mass-Training_P_00004_LEFT_CC"
    old = next((tmp_path / "set/CBIS-DDSM" / name).rglob("*.dcm"))
    new = tmp_path / "set" / name / "1.3.6/1.3.7/000000.dcm"
    new.parent.mkdir(parents=True)
    old.rename(new)
    shutil.rmtree(tmp_path / "set/CBIS-DDSM" / name)
    rows = {row.name for row in open_source(_recipe("cbis-ddsm", tmp_path / "set")).rows if not row.problem}
    assert f"{name}/1.3.6/1.3.7/000000.dcm" in rows


def test_a_brain_slice_in_both_parts_is_kept_where_it_is_judged(made: Callable[[str], Path], tmp_path: Path) -> None:
    _, summary, excluded = _built("brain-tumour-mri", made("brain-tumour-mri"), tmp_path / "data")
    assert excluded == {"Training/glioma/Tr-gl_0000.png": "also in a later split"}
    assert summary["splits"]["test"] == 20


def test_figshare_slices_have_patients_and_the_authors_folds(made: Callable[[str], Path], tmp_path: Path) -> None:
    root = made("brain-tumour-figshare")
    source = open_source(_recipe("brain-tumour-figshare", root))
    assert [Path(row.name).stem for row in source.rows] == [str(index) for index in range(1, 55)]
    assert [(row.patient, row.fold, row.label) for row in source.rows[2:5]] == [
        ("100000", "1", (1.0,)),  # meningioma
        ("100001", "2", (0.0,)),  # glioma
        ("100001", "2", (0.0,)),
    ]
    image, _ = source.read(source.rows[4])
    assert image.pixels.dtype == np.int16 and image.pixels[:2, :20].max() == 0 < image.pixels[:20, :2].max()
    for fold in (0, 4):
        data, *_ = _built(
            "brain-tumour-figshare", root, tmp_path / f"{fold}", "data.folds=5", f"data.fold={fold}", "data.seed=3"
        )
        assert {int(patient) % 5 for patient in data.subset("test").patients} == {fold}


def test_a_matlab_file_that_points_elsewhere_is_not_followed(made: Callable[[str], Path], tmp_path: Path) -> None:
    import h5py

    shutil.copytree(made("brain-tumour-figshare"), tmp_path / "set")
    one, two, three = (tmp_path / f"set/brainTumorDataPublic_1/{index}.mat" for index in (1, 2, 3))
    with h5py.File(one, "r+") as file:
        del file["cjdata/PID"]
        file["cjdata/PID"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with h5py.File(two, "r+") as file:
        del file["cjdata/image"]
        layout = h5py.VirtualLayout((40, 40), np.int16)
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.h5"), "x", (40, 40))
        file.create_virtual_dataset("cjdata/image", layout)
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones((40, 40), np.int16)
    three.write_bytes(three.read_bytes()[:100])
    source = open_source(_recipe("brain-tumour-figshare", tmp_path / "set"))
    problem = "not a slice with label and patient"
    assert [row.problem for row in source.rows[:4]] == [problem, "", problem, ""]
    with pytest.raises(ImageError) as caught:
        source.read(source.rows[1])
    assert caught.value.code == "BROKEN_VOLUME"


def test_tuberculosis_takes_both_sites_with_sex_and_age(made: Callable[[str], Path]) -> None:
    rows = _rows("tuberculosis-cxr", made("tuberculosis-cxr"))
    assert len(rows) == 48
    us, china = rows["MCUCXR_0003_1.png"], rows["CHNCXR_0004_0.png"]
    assert (us.label, us.subgroups) == ((1.0,), {"site": "montgomery", "sex": "F", "age": "27"})
    assert (china.label, china.subgroups) == ((0.0,), {"site": "shenzhen", "sex": "M", "age": "1.333"})


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Patient's Sex: M \nPatient's Age: 003M\nnormal", ("M", "0.25")),
        ("femal 32yrs\nPTB", ("F", "32")),
        ("Female, 28yrs\n", ("F", "28")),
        ("female 64days\nnormal", ("F", "0.1752")),
        ("male 45\n", ("M", "45")),
        ("", ("", "")),
        ("normal", ("", "")),
        ("Patient's Sex: O\n", ("", "")),
    ],
)
def test_a_clinical_reading_tells_sex_and_years(tmp_path: Path, text: str, told: tuple[str, str]) -> None:
    (tmp_path / "x.txt").write_text(text)
    assert person(tmp_path / "x.txt") == told
    assert person(tmp_path / "none.txt") == ("", "")


def test_rsna_rows_become_images_of_nih_patients(made: Callable[[str], Path], tmp_path: Path) -> None:
    root = made("rsna-pneumonia")
    rows = _rows("rsna-pneumonia", root)
    assert len(rows) == 40
    one, two = rows["00030-aaaa-bbbb.dcm"], rows["00031-aaaa-bbbb.dcm"]
    assert one.label == two.label == (1.0,) and one.patient == two.patient == "00000003"
    assert one.subgroups == {"class": "Lung Opacity"}
    data, _, _ = _built("rsna-pneumonia", root, tmp_path / "data")
    groups = data.subgroups[data.names.index("stage_2_train_images/00030-aaaa-bbbb.dcm")]
    assert groups == {"sex": "M", "view": "AP", "class": "Lung Opacity"}  # sex and view of the DICOM header


def test_rsna_rows_that_disagree_or_belong_to_nobody_are_excluded(made: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(made("rsna-pneumonia"), tmp_path / "set")
    labels = tmp_path / "set/stage_2_train_labels.csv"
    labels.write_text(labels.read_text() + "00010-aaaa-bbbb,,,,,0\n")
    path = tmp_path / "set/pneumonia-challenge-dataset-mappings_2018.json"
    path.write_text(json.dumps(json.loads(path.read_text())[3:]))
    rows = _rows("rsna-pneumonia", tmp_path / "set")
    assert rows["00010-aaaa-bbbb.dcm"].problem == "its rows disagree"
    assert rows["00011-aaaa-bbbb.dcm"].problem == "its patient is not in the RSNA's mapping"
    path.unlink()
    assert _rows("rsna-pneumonia", tmp_path / "set", "data.patient_column=null")["00011-aaaa-bbbb.dcm"].problem == ""


def test_children_of_test_are_others_than_those_of_train(made: Callable[[str], Path], tmp_path: Path) -> None:
    root = made("kermany-pneumonia")
    rows = {row.name: row for row in open_source(_recipe("kermany-pneumonia", root)).rows}
    by_cause = {row.subgroups["cause"] for row in rows.values()}
    assert by_cause == {"bacteria", "virus", "normal"}
    patients = {(row.split, row.patient) for row in rows.values()}
    assert ("test", "test person1") in patients and (DEVELOPMENT, "train person1") in patients
    assert {row.split for row in rows.values() if "/val/" in row.name} == {DEVELOPMENT}
    assert (DEVELOPMENT, "train IM-0003") in patients  # NORMAL2-IM-0003: what may be one child stays together
    home = tmp_path / "set/CellData/chest_xray"
    for part in ("train", "test"):
        shutil.copytree(root / "chest_xray/train", home / part)
        for number, path in enumerate(sorted((home / part).glob("*/*"))):
            kind = "NORMAL" if path.parent.name == "NORMAL" else "VIRUS"
            path.rename(path.with_name(f"{kind}-{1000 + number // 2}-{number:04d}.jpeg"))
    (home / "train/NORMAL/scan.jpeg").write_bytes(b"")
    later = open_source(_recipe("kermany-pneumonia", tmp_path / "set")).rows
    assert {row.problem for row in later if row.split != "test"} == {BOTH, "its name tells no patient"}


def test_idrid_counts_both_sets_from_one_and_grades_are_ordered(made: Callable[[str], Path]) -> None:
    recipe = _recipe("idrid-dr", made("idrid-dr"))
    rows = open_source(recipe).rows
    assert len(rows) == 65 and not any(row.problem for row in rows)
    assert [row.label[0] for row in rows[:5]] == [1, 2, 3, 4, 0]
    assert sum(row.name.endswith("IDRiD_001.jpg") for row in rows) == 2
    assert rows[1].subgroups == {"macular_risk": "2"} and recipe.task.ordered


def test_masks_of_breast_ultrasound_are_no_images(made: Callable[[str], Path]) -> None:
    rows = _rows("busi", made("busi"))
    assert len(rows) == 60 and not any("mask" in name for name in rows)
    assert rows["benign (5).png"].subgroups == {"masks": "2"} and rows["benign (4).png"].subgroups == {"masks": "1"}


def test_lung_slices_are_found_where_one_folder_lies_in_the_other(made: Callable[[str], Path], tmp_path: Path) -> None:
    name = "The IQ-OTHNCCD lung cancer dataset"
    shutil.copytree(made("iq-othnccd") / name, tmp_path / name / name)
    (tmp_path / name / name / "Bengin cases").rename(tmp_path / name / name / "Benign cases")
    rows = open_source(_recipe("iq-othnccd", tmp_path)).rows
    assert [sum(row.label == (float(place),) for row in rows) for place in range(3)] == [20, 20, 20]


# Broken copies

BROKEN: list[tuple[str, str | None, str]] = [  # recipe, what is removed (None: the data set), what is told
    ("nih-chestxray14", None, "not found; tried"),
    ("nih-chestxray14", "Data_Entry_2017.csv", "there is no Data_Entry_2017_v2020.csv and no Data_Entry_2017.csv"),
    ("nih-chestxray14", "test_list.txt", "there is no test_list.txt"),
    ("nih-chestxray14", "images_00*", "no .png file there"),
    ("isic2018-task3", "ISIC2018_Task3_Training_LesionGroupings.csv", "no ISIC2018_Task3_Training_LesionGroupings.csv"),
    ("isic2018-task3", "ISIC2018_Task3_Test_GroundTruth", "there is no ISIC2018_Task3_Test_GroundTruth.csv and no"),
    ("luna16", "subset*", "there is no subset0 to subset9"),
    ("luna16", "candidates_V2.csv", "there is no candidates_V2.csv and no"),
    ("eyepacs-dr", "trainLabels.csv", "there is no trainLabels.csv"),
    ("aptos2019-dr", "train_images", "no .jpeg or .jpg or .png file there"),
    ("cbis-ddsm", "calc_case_description_test_set.csv", "there is no calc_case_description_test_set.csv"),
    ("brain-tumour-mri", "Testing", "there is no folder Testing"),
    ("brain-tumour-figshare", "brainTumorDataPublic_*", "there is no 1.mat to 3064.mat"),
    ("tuberculosis-cxr", "*", "there is no folder CXR_png"),
    ("rsna-pneumonia", "pneumonia-challenge-dataset-mappings_2018.json", "images of one patient would stand in train"),
    ("rsna-pneumonia", "stage_2_train_images", "no .dcm file there"),
    ("kermany-pneumonia", "*", "there is no folder train in it"),
    ("kermany-pneumonia", "chest_xray/test", "there is no folder test"),
    ("idrid-dr", "*", "there is no folder B. Disease Grading with 2. Groundtruths"),
    ("idrid-dr", "B. Disease Grading/1. Original Images/b. Testing Set", "no .jpg or .jpeg or .png file there"),
    ("busi", "Dataset_BUSI_with_GT/normal", "no .png file there"),
    ("iq-othnccd", "*", "there is no folder Malignant cases"),
    ("iq-othnccd", "The IQ-OTHNCCD lung cancer dataset/Bengin cases", "there is no folder Bengin cases"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "removed", "told"), BROKEN)
def test_what_is_missing_is_named_with_where_to_get_it_and_its_licence(
    name: str, removed: str | None, told: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    root = tmp_path / "set"
    if removed is not None:
        shutil.copytree(made(name), root)
        for path in root.glob(removed):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DataError) as caught:
        open_source(_recipe(name, root))
    recipe = load_recipe(name)
    assert told in caught.value.message and str(root) in caught.value.message
    assert caught.value.next_step and str(recipe.origin.page) in caught.value.next_step
    assert recipe.licences["data"] in caught.value.next_step and str(recipe.origin.unpack) in caught.value.next_step


@pytest.mark.parametrize(
    ("name", "table", "column"),
    [
        ("nih-chestxray14", "Data_Entry_2017.csv", "Finding Labels"),
        ("isic2018-task3", "ISIC2018_Task3_Training_GroundTruth.csv", "VASC"),
        ("eyepacs-dr", "trainLabels.csv", "level"),
        ("aptos2019-dr", "train.csv", "id_code"),
        ("cbis-ddsm", "mass_case_description_train_set.csv", "pathology"),
        ("rsna-pneumonia", "stage_2_train_labels.csv", "Target"),
        (
            "idrid-dr",
            "B. Disease Grading/2. Groundtruths/a. IDRiD_Disease Grading_Training Labels.csv",
            "Retinopathy grade",
        ),
    ],
)
def test_a_table_of_other_columns_is_refused_by_name(
    name: str, table: str, column: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(made(name), tmp_path / "set")
    path = tmp_path / "set" / table
    path.write_text(path.read_text().replace(column, "other", 1))
    with pytest.raises(DataError, match=rf"{re.escape(Path(table).name)}: no column '{column}'; it has .*other"):
        open_source(_recipe(name, tmp_path / "set"))


def test_a_label_that_changes_is_noticed_though_no_size_does(tmp_path: Path) -> None:
    made_layouts.eyepacs(tmp_path)
    recipe = _recipe("eyepacs-dr", tmp_path)
    before = fingerprint(recipe)
    assert fingerprint(recipe) == before
    table = tmp_path / "retinopathy_solution.csv"
    table.write_text(table.read_text().replace("100_left,0", "100_left,4"))
    assert fingerprint(recipe) != before


def test_a_table_cannot_name_a_file_outside_of_the_set(tmp_path: Path) -> None:
    made_layouts.eyepacs(tmp_path / "set", solution=False)
    (tmp_path / "secret.jpeg").write_bytes(b"x")
    table = tmp_path / "set/trainLabels.csv"
    table.write_text(table.read_text() + "../../secret,1\n")
    rows = open_source(_recipe("eyepacs-dr", tmp_path / "set")).rows
    assert [row.problem for row in rows if "secret" in row.name] == ["its name is not NUMBER_left or NUMBER_right"]
