"""An image of an unknown patient is a patient of its own: in counts, in resampling, and empty in files."""

from __future__ import annotations

from edgedx.core.stats.patients import known_patients, patient_keys, patient_text


def test_unknown_patients_are_one_for_each_image_and_empty_in_files() -> None:
    keys = patient_keys(["p1", "", "p1", ""], ["a.png", "b.png", "c.png", "d.png"])
    assert known_patients(keys).tolist() == [True, False, True, False]
    assert len(set(keys)) == 3
    assert [patient_text(key) for key in keys] == ["p1", "", "p1", ""]


def test_a_patient_called_as_an_image_is_not_that_image() -> None:
    keys = patient_keys(["b.png", ""], ["a.png", "b.png"])
    assert len(set(keys)) == 2


def test_nobody_is_known_among_none() -> None:
    assert known_patients([]).tolist() == []
