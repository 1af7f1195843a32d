"""``edgedx threshold`` as a person at a clinic types it."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from bundles import write_tiny
from inprocess import Done, edgedx
from sites import labelled, site

from edgedx.core.bundle.local_point import FILE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("clinic")
    labelled(made / "images", each=40, apart=90)
    site(made)
    return made


def ask(folder: Path, *words: str, typed: str = "") -> Done:
    before = sys.stdin
    sys.stdin = io.StringIO(typed)
    try:
        return edgedx(folder, "threshold", *words)
    finally:
        sys.stdin = before


DATA = ("--data", "images/labels.csv")


def test_the_table_on_screen_and_in_full(folder: Path) -> None:
    done = ask(folder, "table", "root", *DATA, "--subgroup", "sex", "--prevalence", "0.1", "--cost-test", "5",
               "--cost-miss", "50", "--csv", "t.csv")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for word in ("all images: 80 images, 40 with bright (50%)", "as if 10.0% had it", "sex: F: 40 images", "youden",
                 "false alarms", "cost/case found", "a sensitivity of 0.9 needs 29, 0.95 needs 59"):  # fmt: skip
        assert word in done.stdout
    rows = list(csv.DictReader((folder / "t.csv").open()))
    document = json.loads(ask(folder, "table", "root", *DATA, "--json").stdout)
    assert len(document["parts"][0]["rows"]) == len([row for row in rows if not row["subgroup"]])
    assert document["in_force"] == "youden" and document["least_patients"]["0.95"] == 59


def test_what_is_proposed_is_asked_for_twice_and_shown_from_then_on(folder: Path) -> None:
    said = ask(folder, "propose", "root", *DATA, "--sensitivity", "0.9")
    assert said.returncode == 0 and "bright is called at" in said.stdout and "of 1000 images 500 have" in said.stdout
    again = said.stdout.split("next      edgedx threshold ")[1].split()
    value = json.loads(ask(folder, "propose", "root", *DATA, "--sensitivity", "0.9", "--json").stdout)["confirm"]
    assert ask(folder, *again, typed="n\n").returncode == 1
    wrong = ask(folder, *again, typed="y\n0.5\n")
    assert wrong.returncode == 2 and f"it is {value}" in wrong.stderr
    assert not (folder / "root" / FILE).exists()
    done = ask(folder, *again, typed=f"y\n{value}\n")
    assert done.returncode == 0 and "restart the scanner" in done.stdout, done.stderr
    assert f"bright: {value} and above, chosen at this site" in ask(folder, "show", "root").stdout
    assert "THIS SITE'S OWN" in edgedx(folder, "status", "--root", "root").stdout
    assert "at operating point local, the site's own" in edgedx(folder, "gate", "root", *DATA).stdout
    predicted = edgedx(folder, "predict", "images/0001.png", "--bundle", "root")
    assert f"bright {float(value):.4g}; this site's own" in predicted.stdout
    shown = json.loads(ask(folder, "show", "root", "--json").stdout)
    assert (shown["origin"], shown["threshold"]) == ("local", {"bright": float(value)})
    assert ask(folder, "clear", "root", typed="n\n").returncode == 1
    assert json.loads(ask(folder, "clear", "root", "--yes", "--json").stdout)["cleared"]["model"] == "tiny 1"
    assert "the bundle's own, youden" in ask(folder, "show", "root").stdout


def test_without_a_person_the_value_must_be_named(folder: Path) -> None:
    words = ("set", "root", *DATA, "--sensitivity", "0.9")
    assert ask(folder, *words, "--yes").returncode == 2
    assert ask(folder, *words, "--json").returncode == 2
    value = json.loads(ask(folder, "propose", "root", *DATA, "--sensitivity", "0.9", "--json").stdout)["confirm"]
    other = ask(folder, *words, "--yes", "--confirm", "0.123")
    assert other.returncode == 2 and "nothing was changed" in other.stderr
    done = ask(folder, *words, "--yes", "--confirm", value, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["threshold"] == float(value)
    ask(folder, "clear", "root", "--yes")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("propose", "root", *DATA), 2, "one target is needed"),
        (("propose", "root", *DATA, "--sensitivity", "0.9", "--cheapest"), 2, "several targets"),
        (("propose", "root", *DATA, "--sensitivity", "1"), 2, "cannot be shown by any number"),
        (("propose", "root", *DATA, "--sensitivity", "0.99"), 5, "label images of 259 more patients"),
        (("propose", "root", *DATA, "--positives-per-day", "3"), 2, "belong together"),
        (("propose", "root", "--sensitivity", "0.9"), 2, "nothing says what is true"),
        (("propose", "root", *DATA, "--sensitivity", "0.9", "--class", "dark"), 2, "no such finding"),
        (("set", "root", *DATA, "--value", "0.999"), 1, "the gate says no"),
        (("set", "tiny-1.edgedx", *DATA, "--value", "0.5"), 2, "no device's folder"),
        (("set", "root", *DATA, "--carry-over"), 5, "no threshold for bright"),
        (("clear", "root", "--yes"), 5, "in force already"),
        (("table", "root", "--answers", "root"), 5, "nobody has answered"),
        (("table", "root", *DATA, "--prevalence", "8"), 2, "a prevalence of 8"),
        (("table", "root", *DATA, "--cost-miss", "inf"), 2, "a cost of inf"),
        (("table", "root", "--data", "nowhere.csv"), 5, "nowhere.csv"),
    ],
)
def test_what_cannot_be_done_is_said(folder: Path, words: tuple[str, ...], code: int, message: str) -> None:
    done = ask(folder, *words)
    assert done.returncode == code and message in done.stderr, done.stderr
    assert "next:" in done.stderr


def test_a_model_of_several_classes_has_no_threshold(tmp_path: Path) -> None:
    from edgedx.core.stats.points import OperatingPoint

    argmax = [OperatingPoint(name="argmax", threshold={})]
    write_tiny(tmp_path / "many.edgedx", task="multiclass", positive=None, operating_points=argmax)
    done = ask(tmp_path, "table", "many.edgedx", "--data", "x.csv")
    assert done.returncode == 2 and "it has no threshold" in done.stderr
