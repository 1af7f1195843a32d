"""A study: its trials are the recipe's, it goes on after any end, several join it, and test stays unseen."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny
import yaml

from edgedx.core.errors import DependencyMissing, InputOutputError, UsageError
from edgedx.core.settings.recipe import Recipe, list_recipes, load_recipe
from edgedx.lab.evidence.report.sections import find_evidence
from edgedx.lab.tune import tune as module
from edgedx.lab.tune.files import BEST, PICTURE, REPORT, SLICES, TABLE
from edgedx.lab.tune.space import check_space
from edgedx.lab.tune.study import open_study, place_of
from edgedx.lab.tune.tune import Tuning, tune

SPACE: dict[str, Any] = {
    "train.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
    "train.batch_size": {"low": 8, "high": 16, "step": 4},
    "train.optimizer": {"choices": ["adamw", "sgd"]},
}
GRID: dict[str, Any] = {"train.optimizer": {"choices": ["adamw", "sgd"]}, "train.batch_size": {"choices": [8, 16]}}


def _recipe(folder: Path, trials: int = 3, space: dict[str, Any] = SPACE, **changes: Any) -> Recipe:
    return tiny.recipe(folder, tune={"space": space, "trials": trials, "startup": 2, "pruner": "none", **changes})


def _rows(out: Path) -> list[dict[str, str]]:
    with (out / TABLE).open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    tiny.write_set(folder, 24)
    return folder


@pytest.fixture(scope="module")
def done(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Tuning, dict[str, Any]]:
    plan = Tuning(_recipe(data), tmp_path_factory.mktemp("out"))
    return plan, tune(plan)


def test_the_recipe_as_it_stands_comes_first_and_the_best_is_written_as_a_recipe(
    done: tuple[Tuning, dict[str, Any]],
) -> None:
    plan, report = done
    rows = _rows(plan.out)
    assert [row["state"] for row in rows] == ["ended"] * 3
    assert report["as_it_stands"]["values"] == {
        "train.learning_rate": 0.001, "train.batch_size": 8, "train.optimizer": "adamw",
    }  # fmt: skip
    assert report["best"]["val_auc"] == max(float(row["val_auc"]) for row in rows) or report["best"][
        "val_auc"
    ] == pytest.approx(max(float(row["val_auc"]) for row in rows), abs=1e-6)
    best = load_recipe(str(plan.out / BEST))
    assert best.train.learning_rate == report["best"]["values"]["train.learning_rate"]
    assert best.train.batch_size == report["best"]["values"]["train.batch_size"] and not best.tune.space
    assert json.loads((plan.out / REPORT).read_text()) == report
    assert (plan.out / PICTURE).stat().st_size > 5000 and (plan.out / SLICES).stat().st_size > 5000


def test_a_report_takes_it_in(done: tuple[Tuning, dict[str, Any]], tmp_path: Path) -> None:
    plan, report = done
    (evidence,) = find_evidence(tmp_path / "run", [plan.out])
    assert evidence.section.key == "tune"
    assert [row[0] for row in evidence.section.tables[0].rows] == list(report["best"]["values"])
    assert evidence.pictures == [(plan.out / PICTURE, "AUC on val by trial")]


def test_a_trial_is_what_finetune_trains_with_those_values(done: tuple[Tuning, dict[str, Any]], tmp_path: Path) -> None:
    from edgedx.lab.train.finetune import finetune

    plan, report = done
    record = finetune(load_recipe(str(plan.out / BEST)), tmp_path / "run")
    assert record["metrics"]["history"][-1]["val_auc"] == pytest.approx(report["best"]["val_auc"], abs=1e-9)


def test_a_finished_study_trains_nothing_and_more_trials_go_on(
    done: tuple[Tuning, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, report = done
    with monkeypatch.context() as patch:
        patch.setattr(module, "fit_teacher", lambda *_, **__: pytest.fail("trained again"))
        assert tune(plan)["best"] == report["best"]
    more = plan.recipe.model_copy(update={"tune": plan.recipe.tune.model_copy(update={"trials": 4})})
    assert tune(replace(plan, recipe=more))["trials"]["ended"] == 4


def test_a_study_of_another_recipe_or_other_data_is_not_joined(
    done: tuple[Tuning, dict[str, Any]], tmp_path: Path
) -> None:
    plan, _ = done
    other = plan.recipe.model_copy(update={"train": plan.recipe.train.model_copy(update={"epochs": 2})})
    with pytest.raises(UsageError, match="of another recipe"):
        tune(replace(plan, recipe=other))
    tiny.write_set(tmp_path / "set", 20)
    moved = plan.recipe.model_copy(update={"data": plan.recipe.data.model_copy(update={"path": str(tmp_path / "set")})})
    with pytest.raises(UsageError, match="of another"):
        tune(replace(plan, recipe=moved, out=tmp_path / "out", storage=plan.url))


@pytest.mark.slow
def test_a_grid_is_walked_once_and_goes_on_after_an_interruption(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = Tuning(_recipe(data, space=GRID, sampler="grid"), tmp_path)
    whole, calls = module.fit_teacher, []

    def interrupted(*given: Any, **named: Any) -> Any:
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return whole(*given, **named)

    monkeypatch.setattr(module, "fit_teacher", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(plan)
    report = tune(plan)
    ended = [row for row in _rows(tmp_path) if row["state"] == "ended"]
    assert report["trials"]["ended"] == 4
    combinations = {(row["train.optimizer"], row["train.batch_size"]) for row in ended}
    assert len(combinations) == len(ended) == 4
    assert [row["state"] for row in _rows(tmp_path)].count("interrupted") == 1


@pytest.mark.slow
def test_a_trial_far_below_the_others_is_stopped_early(data: Path, tmp_path: Path) -> None:
    # A learning rate of 1e-9 learns nothing; the others have learned by then.
    space = {"train.learning_rate": {"choices": [3e-3, 2e-3, 4e-3, 1e-9]}}
    recipe = _recipe(data, 6, space, sampler="grid", startup=1, pruner="median")
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update={"epochs": 4, "ema": 0.0})})
    tune(Tuning(recipe, tmp_path))
    rows = {row["train.learning_rate"]: row for row in _rows(tmp_path)}
    for row in rows.values():
        assert (row["state"] == "pruned") == (int(row["epochs"]) < 4)
    assert any(row["state"] == "pruned" for row in rows.values())


@pytest.mark.slow
def test_values_that_cannot_be_trained_say_why_once_others_could(data: Path, tmp_path: Path) -> None:
    space = {"model.backbone": {"choices": ["test_efficientnet", "no_such_model"]}}
    tune(Tuning(_recipe(data, space=space, sampler="grid"), tmp_path / "one"))
    assert [row["state"] for row in _rows(tmp_path / "one")] == ["ended", "failed"]
    assert "no_such_model" in _rows(tmp_path / "one")[1]["why"]
    space = {"model.backbone": {"choices": ["no_such_model", "test_efficientnet"]}}
    with pytest.raises(UsageError, match="no_such_model"):
        tune(Tuning(_recipe(data, space=space, sampler="grid"), tmp_path / "two"))


def test_a_recipe_without_a_space_is_told_how_to_get_one() -> None:
    with pytest.raises(UsageError, match="declares nothing"):
        check_space(_recipe(Path("nowhere"), space={}))


def test_a_grid_needs_an_end() -> None:
    with pytest.raises(UsageError, match="learning_rate"):
        check_space(_recipe(Path("nowhere"), sampler="grid"))


def test_the_spaces_of_shipped_recipes_are_sound() -> None:
    declared = [recipe for recipe in map(load_recipe, list_recipes()) if recipe.tune.space]
    assert declared
    for recipe in declared:
        check_space(recipe)


def test_a_password_in_the_address_is_told_to_nobody(data: Path, tmp_path: Path) -> None:
    url = "sqlite:////nowhere/SECRET/study.db"
    with pytest.raises(InputOutputError) as caught:
        tune(Tuning(_recipe(data), tmp_path, storage=url))
    assert "SECRET" not in str(caught.value) + str(caught.value.next_step)
    assert place_of("postgresql+psycopg://user:SECRET@host/db") == "postgresql"
    assert "SECRET" not in place_of("user:SECRET@host/db") + place_of("SECRET db")


def test_a_database_without_its_package_is_named() -> None:
    with pytest.raises(DependencyMissing, match="oracle storage needs the Python package oracledb"):
        open_study("oracle+oracledb://user:SECRET@host/db", "study", _recipe(Path("nowhere")).tune, 0, {})


@pytest.mark.slow
def test_a_file_on_a_share_is_a_storage_too(data: Path, tmp_path: Path) -> None:
    plan = Tuning(_recipe(data, 2), tmp_path / "one", storage=f"journal:{tmp_path}/study.log")
    assert tune(plan)["storage"] == "journal"
    joined = tune(replace(plan, recipe=_recipe(data, 3), out=tmp_path / "two"))
    assert joined["trials"]["ended"] == 3


@pytest.mark.slow
def test_two_processes_join_a_study_and_a_killed_one_costs_no_trial(data: Path, tmp_path: Path) -> None:
    recipe = _recipe(data, space={"train.optimizer": {"choices": ["adamw", "sgd"]},
                                  "train.batch_size": {"choices": [8, 10, 12, 16]}}, sampler="grid")  # fmt: skip
    path, out = tmp_path / "recipe.yaml", tmp_path / "out"
    path.write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    program = (
        "from pathlib import Path; from edgedx.core.settings.recipe import load_recipe as load\n"
        "from edgedx.lab.tune.tune import Tuning, tune\n"
        f"tune(Tuning(load({str(path)!r}), Path({str(out)!r}), grace=45))"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", program]
    one, two = (subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(2))
    until = time.monotonic() + 300
    while not (out / TABLE).is_file() and time.monotonic() < until:
        time.sleep(0.05)
    one.send_signal(signal.SIGKILL)
    one.wait()
    assert two.wait(timeout=900) == 0
    ended = [(row["train.optimizer"], row["train.batch_size"]) for row in _rows(out) if row["state"] == "ended"]
    assert len(set(ended)) == len(ended) == 8, "none lost, none twice"
