"""Patients are divided whole, the same way each time; leaks and empty classes are found."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import tiny

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Task
from edgedx.lab.data.layouts.listing import DEVELOPMENT
from edgedx.lab.data.sources import Row
from edgedx.lab.data.split import PreparedImage, assign, assign_fold, check_classes, shared_contents, shared_patients

FRACTIONS = (0.7, 0.15, 0.15)
BINARY = Task(**tiny.RECIPE["task"])


def _case(
    name: str, label: float | tuple[float, ...] = 0.0, patient: str = "", split: str = "", sha: str = ""
) -> PreparedImage:
    labels = label if isinstance(label, tuple) else (label,)
    return PreparedImage(Row(name, labels, patient, split), sha or name, 40, 40, 0)


def _clinic(patients: int = 300, seed: int = 0) -> list[PreparedImage]:
    """Patients with one to four images; a fifth of them sick."""
    rng = np.random.default_rng(seed)
    return [
        _case(f"{patient}-{shot}", float(patient % 5 == 0), f"p{patient}")
        for patient in range(patients)
        for shot in range(rng.integers(1, 5))
    ]


def _places(cases: list[PreparedImage], seed: int = 0) -> dict[str, str]:
    return {case.patient: split for case, split in zip(cases, assign(cases, FRACTIONS, seed), strict=True)}


def test_no_patient_stands_in_two_splits() -> None:
    cases = _clinic()
    assert shared_patients(cases, assign(cases, FRACTIONS, 0)) == []


def test_an_image_without_a_patient_is_its_own() -> None:
    cases = [_case(f"{index}", float(index % 2)) for index in range(100)]
    assert set(assign(cases, FRACTIONS, 0)) == {"train", "val", "test"}


@pytest.mark.parametrize("seed", range(3))
def test_each_class_is_divided_by_the_fractions(seed: int) -> None:
    cases = _clinic()
    splits = assign(cases, FRACTIONS, seed)
    for label in (0.0, 1.0):
        own = Counter(split for case, split in zip(cases, splits, strict=True) if case.row.label == (label,))
        for split, fraction in zip(("train", "val", "test"), FRACTIONS, strict=True):
            assert own[split] / own.total() == pytest.approx(fraction, abs=0.03)


def test_the_same_seed_gives_the_same_split_in_any_order() -> None:
    cases = _clinic()
    shuffled = [cases[index] for index in np.random.default_rng(1).permutation(len(cases))]
    assert _places(cases) == _places(cases) == _places(shuffled)


def test_another_seed_gives_another_split() -> None:
    assert _places(_clinic(), 0) != _places(_clinic(), 1)


def test_most_patients_keep_their_place_when_others_are_added() -> None:
    old = _clinic(300)
    more = old + [_case(f"new-{index}", float(index % 5 == 0), f"new{index}") for index in range(40)]
    before, after = _places(old), _places(more)
    assert np.mean([before[patient] == after[patient] for patient in before]) > 0.9


def test_a_patient_with_both_labels_counts_by_the_rarer() -> None:
    """Else all images of a rare finding could come to stand in one split."""
    cases = [
        _case(f"{index}-{label}", label, f"p{index}") for index in range(200) for label in (0.0, 0.0, float(index < 20))
    ]
    splits = assign(cases, FRACTIONS, 0)
    sick = Counter(split for case, split in zip(cases, splits, strict=True) if case.row.label == (1.0,))
    assert sick == {"train": 14, "val": 3, "test": 3}


def test_unknown_labels_do_not_pile_up_in_one_split() -> None:
    cases = [_case(str(index), (float(index % 2), float("nan")), f"p{index}") for index in range(200)]
    own = Counter(assign(cases, FRACTIONS, 0))
    assert own == {"train": 140, "val": 30, "test": 30}


def test_a_given_split_is_kept() -> None:
    cases = [_case(str(index), split=split) for index, split in enumerate(("test", "train", "val"))]
    assert assign(cases, FRACTIONS, 0) == ["test", "train", "val"]


def test_a_split_given_for_some_alone_is_refused() -> None:
    with pytest.raises(DataError, match="some images name a split"):
        assign([_case("1", split="train"), _case("2")], FRACTIONS, 0)


def test_of_an_undivided_part_val_is_drawn_by_patient_and_test_is_kept() -> None:
    cases = [_case(f"{i}-{shot}", float(i % 2), f"p{i}", DEVELOPMENT) for i in range(200) for shot in range(2)]
    cases += [_case(f"t{i}", float(i % 2), f"t{i}", "test") for i in range(50)]
    splits = assign(cases, FRACTIONS, 0)
    assert Counter(splits) == {"train": 328, "val": 72, "test": 50}  # 0.70 and 0.15 of 0.85
    assert set(splits[400:]) == {"test"} and not shared_patients(cases, splits)


def test_rare_findings_reach_every_split_though_no_two_images_have_the_same() -> None:
    """Seven findings are 128 combinations: balanced by combination, nearly every patient would be a stratum alone."""
    cases = [_case(str(i), tuple(float(i >> bit & 1) for bit in range(7)), f"p{i}") for i in range(128)]
    splits = assign(cases, FRACTIONS, 0)
    assert Counter(splits)["train"] == pytest.approx(90, abs=4)
    for bit in range(7):
        own = Counter(split for case, split in zip(cases, splits, strict=True) if case.row.label[bit])
        assert own["val"] >= 4 and own["test"] >= 4


def test_folds_are_the_publishers_own_where_there_are_as_many() -> None:
    cases = [
        PreparedImage(Row(str(i), (float(i % 2),), f"p{i}", fold=f"subset{i % 4}"), str(i), 40, 40, i)
        for i in range(80)
    ]
    for fold in range(4):
        splits = assign_fold(cases, 4, fold, FRACTIONS, 0)
        assert {i % 4 for i, split in enumerate(splits) if split == "test"} == {fold}
        assert splits.count("test") == 20 and splits.count("val") > 0
    drawn = assign_fold(cases, 5, 0, FRACTIONS, 0)
    assert len({i % 4 for i, split in enumerate(drawn) if split == "test"}) > 1


def test_patients_in_two_splits_are_found() -> None:
    cases = [_case("1", patient="p"), _case("2", patient="p"), _case("3", patient="q"), _case("4", patient="q")]
    assert shared_patients(cases, ["train", "test", "val", "val"]) == ["p"]


def test_contents_in_two_splits_are_found() -> None:
    cases = [_case("1", sha="x"), _case("2", sha="y"), _case("3", sha="x"), _case("4", sha="y")]
    assert shared_contents(cases, ["train", "val", "test", "val"]) == {"x": [0, 2]}


def _counts(task: Task, *labels: tuple[float, ...]) -> list[str]:
    """The same labels in each split."""
    cases = [_case(f"{split}{index}", label) for split in range(3) for index, label in enumerate(labels)]
    splits = [split for split in ("train", "val", "test") for _ in labels]
    return check_classes(cases, splits, task)


def test_a_class_without_an_image_is_refused_by_name() -> None:
    with pytest.raises(DataError, match="class 'bright' has no usable image") as caught:
        _counts(BINARY, (0.0,))
    assert "excluded.csv" in str(caught.value.next_step)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_class_missing_from_a_split_is_refused_by_name(split: str) -> None:
    cases = [_case(f"{name}{label}", label) for name in ("train", "val", "test") for label in (0.0, 1.0)]
    splits = [name for name in ("train", "val", "test") for _ in range(2)]
    rest = [index for index, case in enumerate(cases) if case.row.name != f"{split}1.0"]
    with pytest.raises(DataError, match=f"class 'bright' has no image in {split}"):
        check_classes([cases[index] for index in rest], [splits[index] for index in rest], BINARY)


def test_a_finding_that_is_only_unknown_has_no_image() -> None:
    task = Task(**tiny.FINDINGS)
    with pytest.raises(DataError, match="class 'b'"):
        _counts(task, (1.0, float("nan")), (0.0, 0.0))
    assert len(_counts(task, (1.0, float("nan")), (0.0, 1.0))) == 1


def test_small_classes_are_warned_of() -> None:
    """One warning, of the class with the fewest test images: 1 of 1 right proves next to nothing."""
    assert _counts(BINARY, (0.0,), (1.0,), (1.0,)) == [
        "1 test images of 'dark': a sensitivity of 90 % would have a 95 % interval of 17 to 100 %"
    ]
    assert _counts(BINARY, *[(0.0,)] * 600, *[(1.0,)] * 600) == []
