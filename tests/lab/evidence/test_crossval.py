"""Folds: each patient is test once and never seen by the model that judges it; an interrupted run goes on."""

from __future__ import annotations

import csv
import json
import os
import signal
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
from death import run_until_killed

from edgedx.core.errors import InputOutputError, RecipeError
from edgedx.lab.data.sources import Row
from edgedx.lab.data.split import PreparedImage, assign_fold
from edgedx.lab.evidence.compare.crossval import CrossValidation, crossval
from edgedx.lab.evidence.report.sections import find_evidence
from edgedx.lab.launch import local
from edgedx.lab.launch.unit import OUTPUT, Unit

FRACTIONS = (0.7, 0.15, 0.15)


def _cases(patients: int = 200) -> list[PreparedImage]:
    return [
        PreparedImage(
            Row(f"{patient}-{shot}", (float(patient % 10 == 0),), f"p{patient}", ""), f"{patient}-{shot}", 40, 40, 0
        )
        for patient in range(patients)
        for shot in range(1 + patient % 3)
    ]


def test_each_case_is_test_once_and_its_patient_stays_whole() -> None:
    cases = _cases()
    splits = [assign_fold(cases, 5, fold, FRACTIONS, seed=0) for fold in range(5)]
    for index in range(len(cases)):
        assert [own[index] for own in splits].count("test") == 1
    for own in splits:
        places = {(case.patient, split) for case, split in zip(cases, own, strict=True)}
        assert len(places) == 200, "a patient stands in two splits"


def test_folds_are_stratified_and_val_has_its_share() -> None:
    cases = _cases()
    rare = sum(case.row.label == (1.0,) for case in cases)
    for fold in range(5):
        own = assign_fold(cases, 5, fold, FRACTIONS, seed=0)
        sick = Counter(split for case, split in zip(cases, own, strict=True) if case.row.label == (1.0,))
        assert sick["test"] / rare == pytest.approx(1 / 5, abs=0.05)
        assert own.count("val") / (len(own) - own.count("test")) == pytest.approx(0.15 / 0.85, abs=0.03)


def test_a_fold_that_is_not_there_is_refused() -> None:
    with pytest.raises(RecipeError, match="there are 3 folds"):
        tiny.recipe(data={"folds": 3, "fold": 3})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[CrossValidation, dict]:  # type: ignore[type-arg]
    folder = tmp_path_factory.mktemp("crossval")
    tiny.write_set(folder / "data", 24)
    plan = CrossValidation(tiny.recipe(folder / "data"), folder / "out", folds=2, jobs=2)
    return plan, crossval(plan, resamples=100)


@pytest.mark.slow
def test_every_image_is_answered_once_by_a_model_that_did_not_see_its_patient(
    done: tuple[CrossValidation, dict],
) -> None:  # type: ignore[type-arg]
    plan, report = done
    with (plan.out / "out-of-fold-teacher.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len({row["image"] for row in rows}) == len(rows) == report["subjects"]["teacher"]["pooled"]["images"]
    for fold in range(2):
        with (plan.run(fold) / "data" / "manifest.csv").open() as stream:
            seen = {row["patient_id"] for row in csv.DictReader(stream) if row["split"] != "test"}
        assert not seen & {row["patient_id"] for row in rows if row["fold"] == str(fold)}
    found = report["subjects"]["teacher"]
    right = sum(row["truth"] == row["decision"] for row in rows)
    assert found["pooled"]["overall"]["accuracy"]["value"] == pytest.approx(right / len(rows))


@pytest.mark.slow
def test_a_report_takes_it_in(done: tuple[CrossValidation, dict], tmp_path: Path) -> None:  # type: ignore[type-arg]
    plan, report = done
    (evidence,) = find_evidence(tmp_path / "run", [plan.out])
    (table,) = evidence.section.tables
    assert evidence.section.key == "crossval"
    assert evidence.report == json.loads((plan.out / "crossval.json").read_text())
    assert f"{report['subjects']['teacher']['mean']['auc_roc']:.3f} ±" in str(table.rows[0][1])


@pytest.mark.slow
def test_what_is_finished_is_not_repeated(done: tuple[CrossValidation, dict]) -> None:  # type: ignore[type-arg]
    plan, report = done
    before = {path: path.stat().st_mtime_ns for path in plan.out.rglob("model.safetensors")}
    again = crossval(plan, resamples=100)
    assert before and before == {path: path.stat().st_mtime_ns for path in plan.out.rglob("model.safetensors")}
    assert again["subjects"] == report["subjects"] == json.loads((plan.out / "crossval.json").read_text())["subjects"]


@pytest.mark.slow
def test_killed_in_the_middle_it_goes_on_with_the_fold_that_was_begun(
    done: tuple[CrossValidation, dict],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[type-arg]
) -> None:
    plan, report = done
    again = replace(plan, out=tmp_path / "out", jobs=1)
    real = local.start

    def start(unit: Unit, *more: Any, **named: Any) -> Any:
        process = real(unit, *more, **named)
        if unit.name == "fold 1":
            os.kill(os.getpid(), signal.SIGKILL)
        return process

    monkeypatch.setattr(local, "start", start)
    assert run_until_killed(lambda: crossval(again, resamples=100)) == (True, 0)
    monkeypatch.undo()
    first = again.run(0) / "teacher" / "model.safetensors"
    before = first.stat().st_mtime_ns
    assert not (again.run(1) / "teacher" / "stage.json").exists()
    assert crossval(again, resamples=100)["subjects"] == report["subjects"]
    assert first.stat().st_mtime_ns == before


@pytest.mark.slow
def test_a_fold_that_fails_is_named_with_what_it_said(tmp_path: Path) -> None:
    plan = CrossValidation(tiny.recipe(tmp_path / "nothing"), tmp_path / "out", folds=2, jobs=2)
    with pytest.raises(InputOutputError, match=r"fold 0, fold 1 failed; fold 0 said: .*nothing") as failure:
        crossval(plan)
    assert OUTPUT in (failure.value.next_step or "")
