"""What a stopped command left is told from the files themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from edgedx.core.files import write_json
from edgedx.lab.network.checkpoint import save_state
from edgedx.lab.run.kept import begun, kept
from edgedx.lab.run.stage import Stage


def _facts(*epochs: float, step: int = 7) -> dict[str, object]:
    return {"phase": 0, "step": step, "history": [{"phase": "all layers", "epoch": epoch} for epoch in epochs]}


def _begin(folder: Path) -> None:
    def work() -> dict[str, object]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Stage(folder, {}, {}).run(work)


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert kept(tmp_path) == "nothing was finished" and not begun(tmp_path)


def test_finished_stages_and_the_epoch_of_the_one_at_work(tmp_path: Path) -> None:
    Stage(tmp_path / "data", {}, {}).run(lambda: {})
    _begin(tmp_path / "teacher")
    assert kept(tmp_path) == "finished and kept: data; teacher: begun, no training state yet"
    assert begun(tmp_path / "teacher") and not begun(tmp_path / "data")
    save_state(tmp_path / "teacher/state.safetensors", {"model.w": torch.zeros(3)}, _facts())
    assert kept(tmp_path).endswith("teacher: 7 steps are kept in teacher/state.safetensors")
    save_state(tmp_path / "teacher/state.safetensors", {"model.w": torch.zeros(3)}, _facts(1.0, 2.0))
    assert kept(tmp_path).endswith("teacher: epoch 2 of 'all layers' is kept in teacher/state.safetensors")


def test_a_model_and_a_damaged_state_are_no_states(tmp_path: Path) -> None:
    _begin(tmp_path / "student")
    save_state(tmp_path / "student/pruned/model.safetensors", {"w": torch.zeros(3)}, {})
    (tmp_path / "student/work").mkdir()
    (tmp_path / "student/work/distil.safetensors").write_bytes(b"\x10")
    write_json(tmp_path / "student/work/trials.json", [])
    assert kept(tmp_path) == "student: begun, no training state yet"
