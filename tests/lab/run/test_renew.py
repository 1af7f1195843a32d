"""A file that is missing in a run has one command that makes it again; it can be pasted."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgedx.lab.run.renew import FEDERATED, RECIPE, renewal


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "chest 2"
    folder.mkdir()
    (folder / RECIPE).write_text("name: x\n")
    return folder


@pytest.mark.parametrize(
    ("file", "command"),
    [
        ("data/canvases.npy", "edgedx finetune 'RUN/recipe.yaml' --out 'RUN'    (a finished teacher stays)"),
        ("teacher/model.safetensors", "edgedx finetune 'RUN/recipe.yaml' --out 'RUN' --overwrite"),
        ("student/logits.npz", "edgedx compress 'RUN' --overwrite"),
        ("devices/rtx/bundle/stage.json", "edgedx deploy 'RUN' --device rtx --overwrite"),
        ("devices/rtx/variants/fp32/logits.npz", "edgedx compress 'RUN' --device rtx"),
    ],
)
def test_the_stage_decides_the_command(run: Path, file: str, command: str) -> None:
    step = renewal(run / file)
    assert step is not None and step.endswith(command.replace("RUN", str(run)))


def test_what_no_command_made_has_none(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert renewal(run / "notes.txt") is None and renewal(tmp_path / "teacher/model.json") is None
    monkeypatch.chdir(run)
    assert "edgedx compress" in str(renewal(Path("student/model.json")))


def test_a_teacher_of_several_hospitals_is_not_made_by_one(run: Path) -> None:
    (run / FEDERATED).write_text("{}")
    for file in ("data/canvases.npy", "teacher/model.safetensors"):
        assert str(renewal(run / file)).endswith(f"repeat the `edgedx federated` that made {run}, with --overwrite")
