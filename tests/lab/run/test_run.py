"""The run folder: which models it holds, for which devices, and which of them ships."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from made_run import VARIANTS, write_run

from edgedx.core.errors import CheckpointError, UsageError
from edgedx.lab.data.prepare import open_data
from edgedx.lab.evidence.bench import contenders_of
from edgedx.lab.evidence.report.collect import collect
from edgedx.lab.judge.gate import Judge
from edgedx.lab.judge.subject import open_subject
from edgedx.lab.run.run import Run
from edgedx.lab.ship.deploy import profile_to_deploy


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_run(folder, ships="fp32")
    return folder


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    """A copy to change; its compress chose FP32 although there is an INT8 variant."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return Run(tmp_path / "run")


def _second_device(run: Run, profile: str = "orin-nano-8gb") -> None:
    shutil.copytree(run.build("x86-avx2").path, run.build_for(profile).path)
    run.build(profile).choose("int8-u8s8", "made for it")


def test_all_that_judges_ships_or_reports_takes_the_variant_that_compress_chose(run: Run) -> None:
    recipe = run.recipe()
    assert run.build().shipped.name == "fp32"
    assert open_subject(run.path).name == "fp32"
    assert "variant fp32" in Judge(recipe, run, open_data(recipe, run)).artifact(run.path).ran
    assert [path.stem for path in run.models()] == ["teacher", "student", "fp32"]
    assert collect(recipe, run, resamples=50).shipped.name == "fp32"
    assert contenders_of([str(run.build().shipped.path)])[0].name == "student, fp32"
    assert profile_to_deploy(run, None, "cpu").name == "x86-avx2"


def test_a_run_is_found_from_any_folder_or_file_in_it(run: Run, tmp_path: Path) -> None:
    for path in (run.path, run.teacher.path, run.build().shipped.path, run.data / "manifest.csv"):
        assert Run.around(path) == run and Run.of(path) == run
    assert Run.around(tmp_path / "set") is None
    with pytest.raises(UsageError, match=r"no recipe.yaml"):
        Run.open(tmp_path / "set")


def test_of_several_devices_one_must_be_named(run: Run) -> None:
    _second_device(run)
    assert [build.profile for build in run.builds] == ["orin-nano-8gb", "x86-avx2"]
    with pytest.raises(UsageError, match="compressed for orin-nano-8gb and x86-avx2") as caught:
        run.build()
    assert "--device" in str(caught.value.next_step)
    assert run.build("x86-avx2").shipped.name == "fp32" and run.build("orin-nano-8gb").shipped.name == "int8-u8s8"
    with pytest.raises(UsageError, match="not for jetson-nano") as caught:
        run.build("jetson-nano")
    assert str(caught.value.next_step) == f"edgedx compress {run} --device jetson-nano"


def test_a_run_of_before_there_were_devices_names_the_command_that_renews_it(run: Run) -> None:
    (run.path / "devices").rename(run.path / "old")
    shutil.move(run.path / "old/x86-avx2/variants", run.path / "int8")
    assert [model.path.name for model in run.trained] == ["teacher", "student"]
    with pytest.raises(CheckpointError, match="older edgedx") as caught:
        run.build()
    assert str(caught.value.next_step).startswith(f"edgedx compress {run}")


def test_a_record_that_does_not_say_what_ships_is_refused(run: Run) -> None:
    path = run.path.parent / VARIANTS / "stage.json"
    record = json.loads(path.read_text())
    del record["metrics"]["choice"]
    path.write_text(json.dumps(record))
    with pytest.raises(CheckpointError, match="which variant the device is to use"):
        _ = run.build().shipped


def test_logits_of_another_data_set_or_none_are_refused(run: Run) -> None:
    digest = open_data(run.recipe(), run).digest
    assert run.teacher.logits("test", digest=digest)["test"].shape[1] == 2
    with pytest.raises(CheckpointError, match="no comparison"):
        run.teacher.logits("test", digest="0" * 64)
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.teacher.logits("train")
    (run.build().shipped.folder / "logits.npz").write_bytes(b"PK damaged")
    with pytest.raises(CheckpointError, match="cannot be read"):
        run.build().shipped.logits("val")
