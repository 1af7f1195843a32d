"""The ledger says after a power cut what it said before, and never loses count."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgedx.core.errors import StorageError
from edgedx.core.result import result_key
from edgedx.device.scanner.facts import Arrival, Stat
from edgedx.device.scanner.journal import Journal

BUNDLE = "b" * 64
STAT = Stat(10, 20, 30)


def _arrival(name: str, content: str = "", stat: Stat = STAT) -> Arrival:
    return Arrival(name, stat, content or f"content of {name}")


def _key(content: str, bundle: str = BUNDLE) -> str:
    return result_key(content, bundle)


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal.sqlite", BUNDLE)
    yield opened
    opened.close()


def test_commits_survive_power_loss_by_its_settings(journal: Journal) -> None:
    found = {name: journal._db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")}
    assert found == {"journal_mode": "truncate", "synchronous": 2}  # 2 is FULL
    assert journal._db.execute("PRAGMA temp_store").fetchone()[0] == 2  # 2 is MEMORY


def test_an_item_goes_from_received_to_done(journal: Journal) -> None:
    assert journal.receive([_arrival("a", "x")]) == 1
    (item,) = journal.pending(8)
    assert (item.sequence, item.name, item.status, item.attempts) == (1, "a", "received", 0)
    journal.claim([item.key])
    (item,) = journal.pending(8)
    assert (item.status, item.attempts) == ("claimed", 1)
    journal.finish([(item.key, "done", None)])
    assert journal.pending(8) == []
    assert journal.counts() == {"received": 0, "claimed": 0, "done": 1, "refused": 0, "quarantined": 0}


def test_pending_items_come_in_order_of_arrival_without_those_to_skip(journal: Journal) -> None:
    journal.receive([_arrival(name) for name in "dacb"])
    assert [item.name for item in journal.pending(3)] == ["d", "a", "c"]
    assert [item.name for item in journal.pending(2, {_key("content of d")})] == ["a", "c"]


def test_one_content_is_one_item_under_whatever_names(journal: Journal) -> None:
    assert journal.receive([_arrival("a", "x"), _arrival("b", "x"), _arrival("c", "y")]) == 2
    assert journal.receive([_arrival("d", "x")]) == 0
    assert journal.names("x") == ["a", "b", "d"]
    assert [item.sequence for item in journal.items()] == [1, 2]


def test_an_unchanged_file_need_not_be_hashed_again(journal: Journal) -> None:
    journal.receive([_arrival("a", "x")])
    assert journal.recall("a", STAT) == "x"
    for other in (Stat(11, 20, 30), Stat(10, 21, 30), Stat(10, 20, 31)):
        assert journal.recall("a", other) is None
    assert journal.recall("b", STAT) is None


def test_new_content_under_an_old_name_replaces_what_is_recalled(journal: Journal) -> None:
    journal.receive([_arrival("a", "x")])
    journal.receive([_arrival("a", "y", Stat(1, 2, 3))])
    assert journal.recall("a", STAT) is None and journal.recall("a", Stat(1, 2, 3)) == "y"
    assert journal.names("x") == [] and len(journal.pending(8)) == 2


def test_a_file_name_need_not_be_utf8(journal: Journal) -> None:
    name = os.fsdecode(b"r\xf6ntgen.png")
    journal.receive([_arrival(name, "x")])
    assert journal.recall(name, STAT) == "x" and journal.names("x") == [name]
    assert journal.pending(1)[0].name == name


def test_another_bundle_has_its_own_items(journal: Journal, tmp_path: Path) -> None:
    journal.receive([_arrival("a", "x")])
    second = Journal(tmp_path / "journal.sqlite", "c" * 64)
    assert second.recall("a", STAT) == "x" and not second.has(_key("x", "c" * 64))
    assert second.pending(8) == [] and second.count_pending() == 0
    assert second.receive([_arrival("a", "x")]) == 1
    assert second.pending(8)[0].key != journal.pending(8)[0].key
    second.close()


def test_a_claim_given_back_is_not_counted(journal: Journal) -> None:
    journal.receive([_arrival("a", "x")])
    journal.claim([_key("x")])
    journal.release([_key("x")])
    assert [(item.status, item.attempts) for item in journal.items()] == [("received", 0)]


def test_giving_back_does_not_undo_a_final_status(journal: Journal) -> None:
    journal.receive([_arrival("a", "x")])
    journal.claim([_key("x")])
    journal.finish([(_key("x"), "done", None)])
    journal.release([_key("x")])
    assert [(item.status, item.attempts) for item in journal.items()] == [("done", 1)]


@pytest.mark.parametrize(("status", "again"), [("done", 0), ("refused", 0), ("quarantined", 1)])
def test_only_what_was_quarantined_and_put_back_is_read_again(journal: Journal, status: str, again: int) -> None:
    journal.receive([_arrival("a", "x")])
    journal.claim([_key("x")])
    journal.finish([(_key("x"), status, None)], gone=["a"])
    assert journal.recall("a", STAT) is None
    assert journal.receive([_arrival("a", "x")]) == again
    assert [(item.sequence, item.attempts) for item in journal.pending(8)] == [(1, 0)] * again


def test_a_status_that_is_not_final_cannot_be_final(journal: Journal) -> None:
    journal.receive([_arrival("a", "x")])
    with pytest.raises(ValueError, match="claimed"):
        journal.finish([(_key("x"), "claimed", None)])
    assert journal.counts()["received"] == 1


def test_a_commit_that_fails_changes_nothing_and_the_next_one_works(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite", BUNDLE)
    journal.receive([_arrival("a", "x")])
    pages = journal._db.execute("PRAGMA page_count").fetchone()[0]
    journal._db.execute(f"PRAGMA max_page_count={pages}")  # SQLite's own full disk
    with pytest.raises(StorageError, match="full"):
        journal.receive([_arrival(f"{number}" * 200) for number in range(200)])
    journal._db.execute("PRAGMA max_page_count=100000")
    assert journal.counts()["received"] == 1
    assert journal.receive([_arrival("b")]) == 1
    journal.close()


def test_what_is_no_ledger_is_told_with_a_next_step(tmp_path: Path) -> None:
    (tmp_path / "journal.sqlite").write_bytes(b"not a database, and long enough to be one" * 100)
    with pytest.raises(StorageError, match="damaged") as caught:
        Journal(tmp_path / "journal.sqlite", BUNDLE)
    assert caught.value.next_step and "puts the file aside" in caught.value.next_step


def test_a_ledger_of_a_later_version_is_not_touched(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "journal.sqlite") as later:
        later.execute("PRAGMA user_version=99")
    later.close()
    before = (tmp_path / "journal.sqlite").read_bytes()
    with pytest.raises(StorageError, match="version 99"):
        Journal(tmp_path / "journal.sqlite", BUNDLE)
    assert (tmp_path / "journal.sqlite").read_bytes() == before


def test_attempts_are_on_disk_before_the_process_dies(tmp_path: Path) -> None:
    program = (
        "import os, sys\nfrom pathlib import Path\nfrom edgedx.device.scanner.journal import Arrival, Journal, Stat\n"
        "journal = Journal(Path(sys.argv[1]), 'b' * 64)\n"
        "if not journal.pending(1): journal.receive([Arrival('a', Stat(1, 2, 3), 'x')])\n"
        "journal.claim([journal.pending(1)[0].key])\n"
        "os.kill(os.getpid(), 9)\n"
    )
    for attempts in (1, 2, 3):
        done = subprocess.run([sys.executable, "-c", program, str(tmp_path / "journal.sqlite")], check=False)
        assert done.returncode == -9
        journal = Journal(tmp_path / "journal.sqlite", BUNDLE)
        assert [(item.status, item.attempts) for item in journal.items()] == [("claimed", attempts)]
        assert journal.check() == "ok"
        journal.close()
