"""A run that was copied to another place, with a blank in its name, does all that it did; what it lost is named with
the command that makes it again."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from inprocess import edgedx
from tiny_flow import RECIPE, make_images

RUN = "a copy/of it"
QUICK = ("--resamples", "100")
COMMANDS = {
    "gate": ("gate", RUN, "--rule", "value"),
    "evaluate": ("evaluate", f"{RUN}/teacher", *QUICK),
    "compare": ("compare", RUN, *QUICK),
    "report": ("report", RUN, *QUICK),
    "deploy": ("deploy", RUN, "--force"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run up to its bundle."""
    path = tmp_path_factory.mktemp("moved")
    arrays = {}
    for seed, (split, count) in enumerate((("train", 128), ("val", 64), ("test", 64))):
        arrays[f"{split}_images"], arrays[f"{split}_labels"] = make_images(count, seed)
    np.savez(path / "tiny.npz", **arrays)
    (path / "tiny.yaml").write_text(RECIPE.replace("max_auc_drop: 0.2", "max_auc_drop: 0.5, rule: value"))
    for words in (
        ("finetune", "tiny.yaml", "--out", "run"),
        ("compress", "run", "--device", "x86-avx2"),
        ("deploy", "run", "--force"),
    ):
        done = edgedx(path, *words)
        assert done.returncode == 0, done.stderr
    return path


@pytest.fixture
def moved(folder: Path) -> Path:
    """The folder with the copy; the run itself is hidden, so that nothing is found in the old place."""
    shutil.rmtree(folder / "a copy", ignore_errors=True)
    shutil.copytree(folder / "run", folder / RUN)
    return folder


def _next(output: str) -> list[str]:
    line = next(line for line in output.splitlines() if line.startswith("next"))
    return shlex.split(line.removeprefix("next").lstrip(": ").split("    (")[0])


def test_every_command_works_on_the_copy_and_names_it(moved: Path) -> None:
    original = {path: path.read_bytes() for path in (moved / "run").rglob("*") if path.is_file()}
    for name, words in COMMANDS.items():
        done = edgedx(moved, *words)
        assert done.returncode == 0, (name, done.stderr)
        assert "run/devices" not in done.stdout.replace(f"{RUN}/devices", ""), name
    assert {path: path.read_bytes() for path in (moved / "run").rglob("*") if path.is_file()} == original


def test_a_bundle_is_signed_in_the_copy_and_not_where_the_run_was(moved: Path) -> None:
    assert edgedx(moved, "keys", "new", "release", "--out", "keys").returncode == 0
    before = next((moved / "run").rglob("*.edgedx")).read_bytes()
    done = edgedx(moved, "deploy", RUN, "--force", "--sign", "keys/release.key")
    assert done.returncode == 0, done.stderr
    assert next((moved / "run").rglob("*.edgedx")).read_bytes() == before
    assert len(next((moved / RUN).rglob("*.edgedx")).read_bytes()) > len(before)


def test_the_next_line_can_be_pasted(moved: Path) -> None:
    program, *words = _next(edgedx(moved, "evaluate", f"{RUN}/devices/x86-avx2/variants/fp32.onnx", *QUICK).stdout)
    assert program == "edgedx" and words == ["report", RUN]
    assert edgedx(moved, *words, *QUICK).returncode == 0


QUICKLY = ["data/canvases.npy", "teacher/model.safetensors", "devices/x86-avx2/variants/int8-u8s8.onnx"]
FILES = [
    "data/manifest.csv", "data/dataset.json", "teacher/model.json", "teacher/logits.npz", "teacher/stage.json",
    "student/model.json", "student/model.safetensors", "devices/x86-avx2/variants/metrics.json",
    "devices/x86-avx2/variants/fp32.onnx", "devices/x86-avx2/variants/int8-u8s8/logits.npz",
]  # fmt: skip


@pytest.mark.parametrize("file", [*QUICKLY, *(pytest.param(one, marks=pytest.mark.slow) for one in FILES)])
def test_a_file_that_is_gone_is_told_with_the_command_that_renews_it(moved: Path, file: str) -> None:
    (moved / RUN / file).unlink()
    failed = 0
    for name, words in COMMANDS.items():
        done = edgedx(moved, *words)
        assert done.returncode in (0, 2, 5), (name, done.stderr)
        if done.returncode:
            failed += 1
            said, step = done.stderr.splitlines()[-2:]
            assert said.startswith("error: ") and step.startswith("next:  "), (name, done.stderr)
            assert shlex.quote(RUN) in step or f"{RUN}/devices" in step, (name, done.stderr)
            assert "edgedx " in step, (name, done.stderr)
    assert failed, f"nobody missed {file}"
