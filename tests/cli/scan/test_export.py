"""`edgedx scan export --deid`, as an operator types it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from bundles import dicom, png, write_tiny
from inprocess import edgedx

pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")

NAME = "Zwetschge^Ottilie"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scanner that has read two DICOM files and a PNG, and was stopped."""
    folder = tmp_path_factory.mktemp("operation")
    write_tiny(folder / "tiny.edgedx")
    dicom(folder / f"inbox/{NAME}.dcm", 1, name=NAME)
    dicom(folder / "inbox/digital.dcm", 2, kind="DX", name=NAME)
    png(folder / "inbox/a.png")
    scan = ("--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1")
    assert edgedx(folder, "scan", "inbox", *scan).returncode == 0
    return folder


def test_the_inbox_is_known_and_what_is_left_out_is_told_and_is_1(folder: Path) -> None:
    done = edgedx(folder, "scan", "export", "out", "--deid", "--to", "all", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout) == {"schema_version": 1, "written": 2, "left_out": {"NOT_DICOM": 1}, "to": "all"}
    assert not [path for path in (folder / "all").iterdir() if b"wetschge" in path.read_bytes()]
    assert "wetschge" not in done.stdout + done.stderr


def test_one_study_is_chosen_by_its_key(folder: Path) -> None:
    results = [json.loads(path.read_text()) for path in (folder / "out/results").glob("*.json")]
    (key,) = [one["key"] for one in results if one["source"]["name"] == "digital.dcm"]
    done = edgedx(folder, "scan", "export", "out", "--deid", "--to", "one", "--result", key[:12], "--mask", "0,0,4,4")
    assert done.returncode == 0 and "written   1 of 1" in done.stdout, done.stderr
    (copy,) = (folder / "one").glob("*.dcm")
    if shutil.which("dciodvfy") is not None:  # of Debian's dicom3tools
        assert _errors(copy) <= _errors(folder / "inbox/digital.dcm")


def _errors(path: Path) -> set[str]:
    found = subprocess.run(["dciodvfy", str(path)], capture_output=True, text=True, check=False)
    return {line for line in (found.stdout + found.stderr).splitlines() if line.startswith("Error")}


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        (("--to", "x"), 2),
        (("--deid", "--to", "inbox/x"), 2),
        (("--deid", "--to", "x", "--mask", "1,2,3"), 2),
        (("--deid", "--to", "x", "--status", "quarantined"), 2),
        (("--deid", "--to", "x", "--result", "f" * 12), 2),
        (("--deid", "--to", "x", "--inbox", "gone"), 5),
    ],
)
def test_a_wrong_call_writes_nothing_and_says_what_next(folder: Path, wrong: tuple[str, ...], code: int) -> None:
    done = edgedx(folder, "scan", "export", "out", *wrong)
    assert done.returncode == code and "next:" in done.stderr and not (folder / "x").exists()
