"""``edgedx answers``: what was said, and what leaves."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import write_tiny
from inprocess import edgedx

from edgedx.core.bundle.signing import read_public
from edgedx.device.clinic.answers import ANSWERS, Answers
from edgedx.device.clinic.answers_export import read_answers


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    (tmp_path / "out").mkdir()
    answers = Answers(tmp_path / "out" / ANSWERS)
    for number in range(4):
        answers.give(key=f"{number}" * 64, sha256=f"{number + 4}" * 64, bundle=bundle.digest, person="amina",
                     label="dark", shown="bright" if number == 0 else "dark", blind=number < 2)  # fmt: skip
    answers.close()
    return tmp_path


def test_show(folder: Path) -> None:
    done = edgedx(folder, "answers", "show", "out")
    assert done.returncode == 0 and "4 of 1 people to 4 images" in done.stdout
    assert "2 answers, 50.0 % [9.5, 90.5] agree" in done.stdout and "no figure of the model" in done.stdout
    (found,) = json.loads(edgedx(folder, "answers", "show", "out", "--json").stdout)["bundles"]
    assert (found["answers"], found["blind_answers"], found["disagree"]) == (4, 2, 1)


def test_export_is_signed_and_read_again(folder: Path) -> None:
    edgedx(folder, "keys", "new", "north")
    words = ("answers", "export", "out", "--to", "north.answers", "--bundle", "tiny.edgedx", "--site", "north")
    refused = edgedx(folder, *words)
    assert refused.returncode == 2 and "an export is signed" in refused.stderr
    done = edgedx(folder, *words, "--key", "north.key")
    assert done.returncode == 0 and "4 answers (2 blind), 0 images" in done.stdout, done.stderr
    found = read_answers(folder / "north.answers", [read_public(folder / "north.pub")])
    assert len(found.answers) == 4 and found.manifest.site == "north"


def test_images_that_are_left_out_end_with_1(folder: Path) -> None:
    (folder / "inbox").mkdir()
    words = ("answers", "export", "out", "--to", "n.answers", "--bundle", "tiny.edgedx", "--site", "n", "--unsigned")
    done = edgedx(folder, *words, "--images", "--inbox", "inbox", "--json")
    assert done.returncode == 1 and json.loads(done.stdout)["left_out_ABSENT"] == 4
    assert edgedx(folder, *words, "--since", "yesterday").returncode == 2
    assert edgedx(folder, *words, "--since", "2031-01-01").returncode == 5
