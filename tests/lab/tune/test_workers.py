"""Trials by processes of the launcher: on this machine and on two Ray nodes the same as by one process."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import tiny
from ray_nodes import two_nodes

from edgedx.core.errors import UsageError
from edgedx.core.settings.recipe import Recipe
from edgedx.lab.tune.tune import SQLITE, Tuning, tune
from edgedx.lab.tune.workers import Workers

GRID = {"train.optimizer": {"choices": ["adamw", "sgd"]}, "train.batch_size": {"choices": [8, 16]}}


def _grid(folder: Path) -> Recipe:
    return tiny.recipe(folder, tune={"space": GRID, "sampler": "grid", "pruner": "none"})


def _found(out: Path) -> dict[tuple[str, str], str]:
    """AUC on val by values; each combination must be there once."""
    with (out / "trials.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["state"] for row in rows] == ["ended"] * 4
    return {(row["train.optimizer"], row["train.batch_size"]): row["val_auc"] for row in rows}


@pytest.mark.slow
def test_two_processes_and_two_nodes_find_what_one_process_finds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tiny.write_set(tmp_path / "set", 24)
    recipe = _grid(tmp_path / "set")
    alone, here, there = (tmp_path / name for name in ("alone", "here", "there"))
    report = tune(Tuning(recipe, alone))
    tune(Tuning(recipe, here, workers=Workers(jobs=2)))
    with two_nodes() as cluster:
        monkeypatch.setenv("RAY_ADDRESS", cluster.address)
        told = tune(Tuning(recipe, there, workers=Workers(2, "ray", 1)))
    assert _found(alone) == _found(here) == _found(there) and len(_found(alone)) == 4
    assert told["best"] == report["best"] and told["storage"] == "journal"
    outputs = [path.read_text() for path in (there / "workers").glob("*/output.txt")]
    assert len(outputs) == 2 and sum(text.count("trial") for text in outputs) >= 4
    assert Tuning(recipe, there).url.startswith("journal:"), "what was begun on a cluster goes on in the same study"


def test_a_study_that_was_begun_in_sqlite_does_not_move_to_a_share(tmp_path: Path) -> None:
    plan = Tuning(_grid(tmp_path), tmp_path)
    assert plan.url.startswith("sqlite:")
    (tmp_path / SQLITE).touch()
    with pytest.raises(UsageError, match="SQLite does not belong on a share"):
        _ = Tuning(_grid(tmp_path), tmp_path, workers=Workers(2, "ray")).url
    with pytest.raises(UsageError, match="--jobs 0 is for this machine"):
        Workers(0, "slurm").count()


def test_the_address_of_the_study_is_in_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    from edgedx.lab.tune import workers as module

    seen: list[str] = []

    def launched(units: list[module.Unit], launcher: object, what: str) -> None:
        seen.extend([*(word for unit in units for word in unit.commands[0]), os.environ[module.STORAGE]])

    monkeypatch.setattr(module, "launch", launched)
    url = "postgresql://user:secret@host/studies"
    module.run_workers(Workers(3), _grid(tmp_path), tmp_path, trials=2, url=url, study="s", minutes=None)
    assert seen.pop() == url and not any("secret" in word for word in seen)
    assert seen.count("--study") == 2, "no more workers than trials"
    assert module.STORAGE not in os.environ
