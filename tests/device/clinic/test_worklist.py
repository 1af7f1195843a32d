"""The line of each image, as the ledger keeps it: one for each content, written with its result, brought up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from bundles import png, write_tiny
from places import Place

from edgedx.core.bundle.manifest import Bundle
from edgedx.device.clinic.worklist import LOOK, NOT_READ, NOTHING_FOUND, SAID, kind_of
from edgedx.device.scanner.journal import Journal


def _rows(place: Place) -> list[tuple[int, int, int, str | None, str | None]]:
    with sqlite3.connect(place.out / "journal.sqlite") as ledger:
        found = ledger.execute("SELECT place, sequence, look, label, created FROM worklist ORDER BY place").fetchall()
    ledger.close()
    return found


@pytest.mark.parametrize(
    ("label", "threshold", "positive", "kind"),
    [
        ("pneumonia", ["pneumonia"], None, LOOK),
        ("normal", ["pneumonia"], None, NOTHING_FOUND),
        ("normal", [], "pneumonia", NOTHING_FOUND),
        ("pneumonia", [], "pneumonia", LOOK),
        ("glioma", [], None, SAID),
        ("", ["mass", "nodule"], None, NOTHING_FOUND),
        ("mass|nodule", ["mass", "nodule", "hernia"], None, LOOK),
    ],
)
def test_what_is_something_to_look_at(label: str, threshold: list[str], positive: str | None, kind: int) -> None:
    assert kind_of(label, threshold, positive) == kind


def test_each_result_has_its_line_in_the_same_commit(place: Place) -> None:
    png(place.inbox / "a.png", 1, bright=True)
    place.scan()
    png(place.inbox / "b.png", 2, bright=False)
    (place.inbox / "c.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    place.scan()
    rows = _rows(place)
    assert [(row[0], row[2], row[3]) for row in rows[:1]] == [(1, LOOK, "bright")]
    assert sorted((row[2], row[3] or "") for row in rows[1:]) == [(NOTHING_FOUND, "dark"), (NOT_READ, "")]
    assert all(row[4] for row in rows)


def test_a_later_bundle_takes_the_place_of_an_earlier_one(place: Place, tmp_path: Path) -> None:
    png(place.inbox / "a.png", 1, bright=True)
    place.scan()
    png(place.inbox / "b.png", 2, bright=False)
    place.scan()
    before = _rows(place)
    place.bundle = write_tiny(tmp_path / "second.edgedx", version="2")
    place.scan()
    after = _rows(place)
    assert [row[0] for row in after] == [row[0] for row in before] == [1, 2]
    assert sorted(row[1] for row in after) == [3, 4]
    assert [row[2:4] for row in after] == [row[2:4] for row in before]


def _downgrade(path: Path) -> None:
    """A ledger as version 2 left it."""
    with sqlite3.connect(path) as ledger:
        ledger.executescript("DROP TABLE worklist; DROP TABLE identifiers; PRAGMA user_version=2;")
    ledger.close()


def test_a_ledger_of_before_is_completed_from_its_results(place: Place) -> None:
    for number, bright in enumerate((True, False, True)):
        png(place.inbox / f"{number}.png", number, bright=bright)
    place.scan()
    before = _rows(place)
    _downgrade(place.out / "journal.sqlite")
    opened = Journal(place.out / "journal.sqlite", place.bundle.digest)
    opened.close()
    bare = _rows(place)
    assert [(row[0], row[1]) for row in bare] == [(row[0], row[1]) for row in before]
    assert {row[2:] for row in bare} == {(SAID, None, None)}
    place.scan()
    assert _rows(place) == before


def test_a_ledger_that_is_made_anew_is_completed_and_what_cannot_be_read_is_left(place: Place) -> None:
    for number in range(2):
        png(place.inbox / f"{number}.png", number, bright=True)
    place.scan()
    before = _rows(place)
    (place.out / "journal.sqlite").unlink()
    place.scan()
    place.scan()
    assert _rows(place) == before
    with place.scanner() as scanner:
        key = next(scanner.journal.finished())
        scanner.publisher.path_of(key).write_text("{")
        scanner.journal._db.execute("UPDATE worklist SET created = NULL")
        scanner.work()
        assert scanner.journal.undescribed(10) == []
    assert [row[4] == "" for row in _rows(place)] == [True, False]


def test_what_is_forgotten_has_no_line(place: Place, bundle: Bundle) -> None:
    png(place.inbox / "a.png", 1, bright=True)
    place.scan()
    journal = Journal(place.out / "journal.sqlite", bundle.digest)
    journal._db.execute("INSERT INTO identifiers VALUES (x'00', 1)")
    journal.forget(list(journal.finished()), [])
    journal.close()
    assert _rows(place) == []
    with sqlite3.connect(place.out / "journal.sqlite") as ledger:
        assert ledger.execute("SELECT count(*) FROM identifiers").fetchone() == (0,)
    ledger.close()


def test_what_an_earlier_bundle_said_may_be_forgotten_alone(place: Place, tmp_path: Path) -> None:
    """In either order, the row goes with the result that it shows, and not before."""
    for name, first in (("a", 0), ("b", 1)):
        png(place.inbox / f"{name}.png", first + 1, bright=True)
    place.scan()
    old = place.bundle
    place.bundle = write_tiny(tmp_path / "second.edgedx", version="2")
    place.scan()
    journal = Journal(place.out / "journal.sqlite", place.bundle.digest)
    keys = {digest: [row[0] for row in journal._db.execute(
        "SELECT key FROM items WHERE bundle = ? ORDER BY sha256", (digest,))]
        for digest in (old.digest, place.bundle.digest)}  # fmt: skip
    journal.forget(keys[old.digest][:1], [])
    assert len(_rows(place)) == 2
    journal.forget(keys[place.bundle.digest][:1], [])
    assert len(_rows(place)) == 1
    journal.forget([keys[place.bundle.digest][1], keys[old.digest][1]], [])
    assert _rows(place) == []
    journal.close()
