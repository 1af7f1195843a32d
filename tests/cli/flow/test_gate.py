"""`edgedx gate` on a device: without torch, with its words, figures and exit codes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import model, png, write_tiny
from inprocess import edgedx

PROMISE = {"metrics": {"test_auc": 0.98, "test_accuracy": 0.95}, "gate": {"budget": 0.02, "rule": "value"}}
ABSENT = """
import importlib.abc, sys
class Absent(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "timm", "onnx", "sklearn", "matplotlib", "scipy"}:
            raise ModuleNotFoundError(name, name=name.split(".")[0])
sys.meta_path.insert(0, Absent())
from edgedx.cli.app import main
sys.argv = ["edgedx", *sys.argv[1:]]
main()
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Path:
    """Forty labelled images in a table, and two bundles: one good, one that decides the wrong way round."""
    rows = []
    for number in range(40):
        label = "dark" if number % 2 else "bright"
        png(tmp_path / "images" / f"{number}.png", number, bright=label == "bright")
        rows.append(f"images/{number}.png,{label},p{number},{'FM'[number // 2 % 2]}")
    (tmp_path / "labels.csv").write_text("image,label,patient_id,sex\n" + "\n".join(rows) + "\n")
    write_tiny(tmp_path / "good.edgedx", **PROMISE)
    write_tiny(tmp_path / "bad.edgedx", network=model(-1.0), **PROMISE)
    return tmp_path


def test_a_device_judges_a_bundle_without_torch(clinic: Path) -> None:
    command = [sys.executable, "-c", ABSENT, "gate", "good.edgedx", "--data", "labels.csv"]
    done = subprocess.run(command, cwd=clinic, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("gate      passed: AUC on the samples is 1.000")
    assert "40 of 40 samples answered" in done.stdout
    assert lines[-1] == "next      edgedx scan INBOX --bundle good.edgedx --out OUT"


def test_a_broken_promise_exits_with_1_and_a_sentence(clinic: Path) -> None:
    done = edgedx(clinic, "gate", "bad.edgedx", "--data", "labels.csv")
    assert done.returncode == 1
    assert done.stdout.startswith("gate      NO: AUC on the samples is 0.000")
    assert "error: the gate says no: AUC on the samples is 0.000" in done.stderr and "next:" in done.stderr


def test_another_models_table_is_the_teacher(clinic: Path) -> None:
    rows = [f"images/{number}.png,{number % 2:.1f},{1 - number % 2:.1f}" for number in range(40)]
    (clinic / "teacher.csv").write_text("image,dark,bright\n" + "\n".join(rows) + "\n")
    arguments = ("--data", "labels.csv", "--reference", "teacher.csv", "--subgroup", "sex")
    good = edgedx(clinic, "gate", "good.edgedx", *arguments, "--json")
    assert good.returncode == 0, good.stderr
    document = json.loads(good.stdout)
    assert document["passed"] and document["teacher"]["flips"] == 0 and document["promise"]["answered"] == 40
    assert [part["value"] for part in document["teacher"]["subgroups"]] == ["F", "M"]
    proven = edgedx(clinic, "gate", "good.edgedx", *arguments, "--rule", "non-inferior")
    assert proven.returncode == 1  # twenty of a class cannot prove a loss within 0.02
    assert "not proven" in proven.stderr and "gate.rule" not in proven.stderr  # no hint names a way around
    bad = edgedx(clinic, "gate", "bad.edgedx", *arguments, "--out", "judged")
    assert bad.returncode == 1 and "changed   40 of 40 decisions differ" in bad.stdout
    assert len((clinic / "judged" / "flips.csv").read_text().splitlines()) == 41


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("nothing.edgedx", "--data", "labels.csv"), 5, "nothing at nothing.edgedx"),
        (("good.edgedx",), 2, "lies in no run"),
        (("good.edgedx", "--data", "labels.csv", "--split", "val"), 2, "--split"),
        (("good.edgedx", "--data", "labels.csv", "--rule", "luck"), 2, "no such rule"),
        (("good.edgedx", "--subgroup", "sex"), 2, "--subgroup is for --data"),
        (("good.edgedx", "--data", "images", "--subgroup", "sex"), 2, "need a table"),
        (("good.edgedx", "--data", "labels.csv", "--subgroup", "age"), 5, "no column 'age'"),
        (("good.edgedx", "--data", "labels.csv", "--run", "x", "--reference", "y.csv"), 2, "give one of them"),
    ],
)
def test_calls_that_cannot_be_carried_out(clinic: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = edgedx(clinic, "gate", *arguments)
    assert done.returncode == code, done.stderr
    assert words in done.stderr and "next:" in done.stderr
