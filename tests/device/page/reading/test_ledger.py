"""The worklist out of the ledger: order, pages, filters, blind reads, and a scanner that is never held up."""

from __future__ import annotations

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedx.core.errors import StorageError
from edgedx.core.result import result_key
from edgedx.device.clinic.answers import Answers, drawn
from edgedx.device.clinic.worklist import LOOK, NOT_READ, NOTHING_FOUND, Line
from edgedx.device.page.reading.ledger import PAGE, Ledger
from edgedx.device.scanner.facts import Arrival, Stat
from edgedx.device.scanner.journal import Journal

BUNDLE = "b" * 64


def _sha(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _key(number: int) -> str:
    return result_key(_sha(number), BUNDLE)


def fill(out: Path, looks: list[int], *, days: int = 1) -> None:
    """A ledger with one result for each of `looks`, as the scanner writes it."""
    journal = Journal(out / "journal.sqlite", BUNDLE)
    journal.receive(Arrival(f"{n}.png", Stat(1, 1, n), _sha(n)) for n in range(len(looks)))
    outcomes, lines = [], []
    for n, look in enumerate(looks):
        read = look != NOT_READ
        outcomes.append((_key(n), "done" if read else "refused", None if read else "BLANK"))
        day = f"2026-11-{1 + n * days // len(looks):02d}"
        label = {LOOK: "bright", NOTHING_FOUND: "dark"}.get(look)
        lines.append(Line(_key(n), look, label, f"{day}T10:00:00Z", day, drawn(_sha(n), BUNDLE), (bytes([n % 7]),)))
    journal.finish(outcomes, lines=lines)
    journal.close()


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path, 0.0)
    yield opened
    opened.close()


def _all(ledger: Ledger, *arguments: str, **named: str) -> list[int]:
    """Places of every page, one after the other."""
    places: list[int] = []
    before, pages = None, 0
    while True:
        listing = ledger.page(*arguments, before=before, **named)  # type: ignore[arg-type]
        places += [row.place for row in listing.rows]
        before, pages = listing.older, pages + 1
        assert pages < 100
        if before is None:
            return places


def test_newest_first_page_by_page_each_once(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [NOTHING_FOUND] * (3 * PAGE + 4))
    assert len(ledger.page("all", "amina").rows) == PAGE
    assert _all(ledger, "all", "amina") == list(range(3 * PAGE + 4, 0, -1))


def test_exactly_full_pages_have_no_empty_one_behind_them(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK] * PAGE)
    assert ledger.page("all", "amina").older is ledger.page("look", "amina").older is None


def test_filters_and_days_hold_together(tmp_path: Path, ledger: Ledger) -> None:
    kinds = [(LOOK, NOTHING_FOUND, NOT_READ)[n % 3] for n in range(200)]
    fill(tmp_path, kinds, days=4)
    for show, wanted in (("look", {LOOK}), ("unread", {NOT_READ}), ("all", {LOOK, NOTHING_FOUND, NOT_READ})):
        expected = [n + 1 for n, kind in enumerate(kinds) if kind in wanted]
        assert _all(ledger, show, "amina") == expected[::-1]
        on_day = [place for place in expected if 51 <= place <= 100]
        assert _all(ledger, show, "amina", day="2026-11-02") == on_day[::-1]
    assert ledger.page("all", "amina", day="2020-01-01").rows == []
    assert ledger.days() == [f"2026-11-{day:02d}" for day in (4, 3, 2, 1)]


def test_what_one_has_answered_is_no_longer_to_answer(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK, NOTHING_FOUND, NOT_READ, LOOK])
    assert _all(ledger, "unanswered", "amina") == [4, 2, 1]
    answers = Answers(tmp_path / "answers.sqlite")
    answers.give(key=_key(3), sha256=_sha(3), bundle=BUNDLE, person="amina", label="bright", shown="bright")
    answers.close()
    assert _all(ledger, "unanswered", "amina") == [2, 1]
    assert _all(ledger, "unanswered", "joseph") == [4, 2, 1]


def test_a_blind_read_is_to_look_at_until_one_has_answered_whatever_the_model_said(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path, 0.3)
    fill(tmp_path, [NOTHING_FOUND] * 60)
    blind = [n + 1 for n in range(60) if drawn(_sha(n), BUNDLE) < 0.3]
    assert 8 < len(blind) < 30 and _all(ledger, "look", "amina") == blind[::-1]
    answers = Answers(tmp_path / "answers.sqlite")
    first = blind[0] - 1
    answers.give(key=_key(first), sha256=_sha(first), bundle=BUNDLE, person="amina", label="dark", shown="dark")
    assert _all(ledger, "look", "amina") == blind[:0:-1]
    assert _all(ledger, "look", "joseph") == blind[::-1]
    ledger.close()


def test_a_row_is_found_by_key_name_content_and_digest(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK] * 10)
    row = ledger.row(_key(3)[:32])
    assert row is not None and (row.place, row.name, row.label) == (4, "3.png", "bright")
    assert ledger.row("0" * 32) is None
    assert ledger.named("3.png") == [row] and ledger.named("3.pn") == []
    assert ledger.files_of(_sha(3)) == ["3.png"]
    assert ledger.of_contents([_sha(3), "no"]) == {_sha(3): row}
    assert [one.place for one in ledger.found_by(bytes([3]))] == [4]
    assert [one.place for one in ledger.found_by(bytes([0]))] == [8, 1]


def test_a_name_that_is_no_unicode_is_a_name(tmp_path: Path, ledger: Ledger) -> None:
    journal = Journal(tmp_path / "journal.sqlite", BUNDLE)
    name = os.fsdecode(b"\xff\xfe.png")
    journal.receive([Arrival(name, Stat(1, 1, 1), _sha(1))])
    journal.finish([(_key(1), "refused", "BLANK")])
    journal.close()
    assert ledger.page("all", "amina").rows[0].name == name


def test_no_ledger_and_an_old_one_are_said(tmp_path: Path, ledger: Ledger) -> None:
    with pytest.raises(StorageError):
        ledger.page("all", "amina")
    assert ledger.version() == (0, 0)
    with sqlite3.connect(tmp_path / "journal.sqlite") as old:
        old.execute("CREATE TABLE items (sequence INTEGER)")
        old.execute("PRAGMA user_version=2")
    old.close()
    with pytest.raises(StorageError, match="earlier edgedx"):
        ledger.page("all", "amina")


def test_a_ledger_that_was_made_anew_is_seen_at_once(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK])
    assert len(ledger.page("all", "amina").rows) == 1
    other = tmp_path / "other"
    other.mkdir()
    fill(other, [LOOK] * 3)
    os.replace(other / "journal.sqlite", tmp_path / "journal.sqlite")
    assert len(ledger.page("all", "amina").rows) == 3


KILLED = """
import os, signal, sys
from pathlib import Path
from edgedx.device.scanner.journal import Journal
journal = Journal(Path(sys.argv[1]), "b" * 64)
journal._db.execute("PRAGMA cache_size=1")
journal._db.execute("BEGIN IMMEDIATE")
journal._db.executemany("INSERT INTO paths (name, bytes, mtime_ns, inode, sha256) VALUES (?, 1, 1, 1, '')",
                        [(b"x%d" % n,) for n in range(5000)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_scanner_that_was_killed_in_a_commit_leaves_a_list_that_can_be_read(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK] * 5)
    path = tmp_path / "journal.sqlite"
    assert len(ledger.page("all", "amina").rows) == 5  # the page is open meanwhile
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert done.returncode == -signal.SIGKILL and path.with_name("journal.sqlite-journal").stat().st_size > 0
    before = path.read_bytes()
    rows = []
    for _ in range(2):  # the first may find the connection broken, and opens it again
        try:
            rows = ledger.page("all", "amina").rows
        except StorageError:
            continue
    assert len(rows) == 5 and path.read_bytes() == before


def test_a_reader_never_keeps_the_scanner_from_writing(tmp_path: Path, ledger: Ledger) -> None:
    fill(tmp_path, [LOOK] * 100)
    writer = sqlite3.connect(tmp_path / "journal.sqlite", timeout=0, isolation_level=None)
    for show in ("all", "look", "unanswered"):
        ledger.page(show, "amina")  # type: ignore[arg-type]
        writer.execute("BEGIN EXCLUSIVE")  # fails at once where a reader still holds its lock
        writer.execute("COMMIT")
    writer.close()
