"""results.csv belongs to people: removed, rotated or edited, it is begun anew, and no result waits for it.

Reported as: procServ (ralphlange/procServ#38) and logrotate (#654): what a rotated file is written to afterwards.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import png
from places import SETTLE, Place

from edgedx.device.scanner.scanner import Scanner


def _remove(table: Path) -> None:
    table.unlink()


def _rotate(table: Path) -> None:
    table.rename(table.with_name("archived.csv"))


def _rotate_and_make(table: Path) -> None:
    table.rename(table.with_name("archived.csv"))
    table.touch()


def _truncate(table: Path) -> None:
    os.truncate(table, 0)


def _cut(table: Path) -> None:
    os.truncate(table, table.stat().st_size - 5)


def _header_only(table: Path) -> None:
    table.write_text(table.read_text().splitlines()[0] + "\n")


def _remark(table: Path) -> None:
    table.write_text(table.read_text() + "seen by Dr. X,,,,,,,,\n")


def _another_label(table: Path) -> None:
    table.write_text(table.read_text().replace(",done,", ",checked,"))


def _other_form(table: Path) -> None:
    """As a spreadsheet saves it."""
    rows = list(csv.reader(io.StringIO(table.read_text())))
    with table.open("w", newline="", encoding="utf-16") as stream:
        csv.writer(stream, delimiter=";").writerows(rows)


ATTACKS = [_remove, _rotate, _rotate_and_make, _truncate, _cut, _header_only, _remark, _another_label, _other_form]
EDITED = [_remark, _another_label, _other_form]


def _settle(place: Place, scanner: Scanner) -> None:
    for _ in range(4):
        place.time.now += SETTLE
        scanner._pass()


def _check(place: Place, count: int) -> None:
    rows = place.table()
    assert len(rows) == count and len({row["result"] for row in rows}) == count
    assert {row["status"] for row in rows} == {"done"}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("idle", [False, True])
def test_a_table_that_others_touched_is_begun_anew_and_what_they_wrote_is_kept(
    place: Place, attack: Callable[[Path], None], idle: bool
) -> None:
    with place.scanner() as scanner:
        png(place.inbox / "a.png", 1)
        _settle(place, scanner)
        attack(place.out / "results.csv")
        edited = (place.out / "results.csv").read_bytes() if attack in EDITED else b""
        if not idle:
            png(place.inbox / "b.png", 2)
        _settle(place, scanner)
        _check(place, 1 if idle else 2)
        png(place.inbox / "c.png", 3)
        _settle(place, scanner)
        _check(place, 2 if idle else 3)
        assert scanner.troubles() == []
    kept = [path.read_bytes() for path in place.out.glob("results.edited-*.csv")]
    assert kept == ([edited] if edited else [])


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_next_start_mends_it_too(place: Place, attack: Callable[[Path], None]) -> None:
    png(place.inbox / "a.png", 1)
    png(place.inbox / "b.png", 2)
    place.scan()
    attack(place.out / "results.csv")
    with place.scanner():
        pass
    if attack is not _another_label:  # lines of known results are not read word by word at a start
        _check(place, 2)


def test_a_line_says_by_which_threshold_it_was_decided_and_what_else_fits(place: Place) -> None:
    png(place.inbox / "a.png", 1)
    place.scan()
    (row,), (result,) = place.table(), place.results().values()
    assert result["prediction"]["threshold"], "the bundle of these tests decides at a threshold"
    ((name, limit),) = result["prediction"]["threshold"].items()
    assert row["threshold"] == f"{name} {limit:.4f}"
    fits = result["prediction_set"]
    assert row["prediction_set"] == ("" if fits is None else "|".join(fits["classes"]))
    assert list(row)[-1] == "result"


def test_a_table_that_cannot_be_written_costs_no_result_and_is_in_the_status(place: Place) -> None:
    table = place.out / "results.csv"
    with place.scanner() as scanner:
        png(place.inbox / "a.png", 1)
        _settle(place, scanner)
        table.unlink()
        table.mkdir()
        (table / "in the way").touch()
        for seed, name in enumerate("bcd", 2):
            png(place.inbox / f"{name}.png", seed)
            _settle(place, scanner)
        assert scanner.journal.counts()["done"] == 4 and len(place.results()) == 4
        assert any(one.startswith("results.csv cannot be written") for one in scanner.troubles())
        (table / "in the way").unlink()
        table.rmdir()
        place.time.now += 61
        scanner._pass()
        _check(place, 4)
        assert scanner.troubles() == []


def test_a_second_reading_of_one_file_leaves_one_line_after_the_next_start(place: Place) -> None:
    (place.inbox / "a.txt").write_text("text")
    place.scan()
    (place.inbox / "again.txt").write_text("text")
    place.scan()
    place.scan()
    assert len(place.table()) == 1 and not list(place.out.glob("results.edited-*"))
