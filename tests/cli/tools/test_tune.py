"""``edgedx tune`` from the command line, as far as nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny
import yaml
from inprocess import edgedx

SPACE = "tune.space={train.optimizer: {choices: [adamw, sgd]}}"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    tiny.write_set(tmp_path / "set", 20)
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(tiny.recipe(tmp_path / "set").model_dump(mode="json")))
    return path


def test_no_time_writes_what_is_known(recipe: Path, tmp_path: Path) -> None:
    done = edgedx(tmp_path, "tune", str(recipe), "--set", SPACE, "--minutes", "0", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["best"] is None
    assert (tmp_path / "runs" / "tiny-tune" / "trials.csv").read_text().startswith("trial,state,val_auc")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "declares nothing to tune"),
        (["--set", SPACE, "--sampler", "grid", "--trials", "3"], "every combination"),
        (["--set", SPACE, "--sampler", "random"], "tune.sampler"),
        (["--set", "tune.space={train.optimiser: {choices: [adamw, sgd]}}"], "did you mean 'train.optimizer'"),
    ],
)
def test_a_call_that_means_nothing_is_refused(recipe: Path, tmp_path: Path, given: list[str], message: str) -> None:
    done = edgedx(tmp_path, "tune", str(recipe), *given)
    assert done.returncode == 2
    assert message in done.stderr


def test_torchrun_is_refused(recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    done = edgedx(tmp_path, "tune", str(recipe), "--set", SPACE)
    assert done.returncode == 2 and "torchrun" in done.stderr
