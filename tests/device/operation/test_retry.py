"""`edgedx scan retry`: what was quarantined is read again, lost by no kill and read by one key."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundles import png
from death import run_until_killed
from places import Place

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.device.operation.retry import chosen, put_back, quarantined

LETTERS = {"a/letter.txt": "Dear colleague", "a/other.txt": "Dear patient", "third.txt": "Dear all"}


@pytest.fixture
def aside(place: Place) -> Place:
    """Three files that are no images."""
    for name, text in LETTERS.items():
        (place.inbox / name).parent.mkdir(exist_ok=True)
        (place.inbox / name).write_text(text)
    png(place.inbox / "good.png")
    assert place.scan()["quarantined"] == 3
    return place


def retry(place: Place, *keys: str) -> list[str]:
    """Put back what `keys` choose, or all; returns names relative to the inbox."""
    found = quarantined(place.out)
    files = chosen(found, keys) if keys else found
    return [path.relative_to(place.inbox).as_posix() for path in put_back(place.out, place.inbox, files)]


def _texts(folder: Path) -> list[str]:
    return sorted(p.read_text() for p in folder.rglob("*.txt"))


def _keys(place: Place) -> dict[str, str]:
    return {name: result["key"] for name, result in place.results().items()}


def test_all_go_back_to_where_they_were_and_get_fresh_attempts(aside: Place) -> None:
    place = aside
    keys = _keys(place)
    assert sorted(retry(place)) == sorted(
        f"{'a/' if '/' in name else ''}{keys[name][:12]}-{Path(name).name}" for name in LETTERS
    )
    assert not quarantined(place.out) and not list((place.out / "quarantine").iterdir())
    with place.scanner() as scanner:
        scanner.look()
        place.time.sleep(10)
        scanner.look()
        items = [item for item in scanner.journal.items() if item.key != keys["good.png"]]
        assert {(item.status, item.attempts) for item in items} == {("received", 0)}
    counts = place.scan()
    assert counts["quarantined"] == 3 and counts["done"] == 1
    assert len(place.table()) == len(list((place.out / "results").glob("*.json"))) == 4


def test_a_key_chooses_and_an_unknown_one_moves_nothing(aside: Place) -> None:
    place = aside
    key = _keys(place)["third.txt"]
    for wrong in ("f" * 12, "short", "../../x", "a" * 65):
        with pytest.raises(UsageError):
            retry(place, key, wrong)
    assert len(_texts(place.out / "quarantine")) == 3
    assert retry(place, key, key[:8]) == [f"{key[:12]}-third.txt"]
    assert _texts(place.out / "quarantine") == sorted(text for name, text in LETTERS.items() if name != "third.txt")


def test_what_can_be_read_now_is_done_and_nothing_of_the_quarantine_is_left(place: Place) -> None:
    png(place.inbox / "x.png")
    with place.scanner() as scanner:
        scanner.look()
        place.time.sleep(10)
        scanner.look()
        (item,) = scanner.journal.items()
        scanner.journal.claim([item.key])
        scanner.journal.finish([(item.key, "quarantined", "DECODER_TIMEOUT")], gone=["x.png"])
        os.replace(place.inbox / "x.png", place.out / "quarantine" / f"{item.key[:12]}-x.png")
    assert retry(place, item.key) == [f"{item.key[:12]}-x.png"]
    assert place.scan()["done"] == 1 and len(place.table()) == 1


def test_a_name_does_not_grow_with_every_retry(aside: Place) -> None:
    place = aside
    first = retry(place)
    place.scan()
    assert retry(place) == first


def test_the_folder_it_came_from_may_be_gone_or_lead_elsewhere(aside: Place, tmp_path: Path) -> None:
    place = aside
    (place.inbox / "a").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (place.inbox / "a").symlink_to(tmp_path / "elsewhere")
    assert not any("/" in name for name in retry(place))
    assert not list((tmp_path / "elsewhere").iterdir())


def test_a_folder_that_no_scanner_wrote_to_is_told(aside: Place, tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="no folder"):
        quarantined(tmp_path / "nothing")
    with pytest.raises(InputOutputError, match="no folder"):
        list(put_back(aside.out, tmp_path / "gone", quarantined(aside.out)))
    assert {(one.name, one.code) for one in quarantined(aside.out)} == {(name, "UNKNOWN_FORMAT") for name in LETTERS}


@pytest.mark.parametrize("other_disk", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_kill_at_any_step_loses_nothing(aside: Place, other_disk: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    place = aside
    if other_disk:  # the test's death refuses renames out of the inbox; here they go into it
        moved = os.replace

        def refuse(source: str | Path, target: str | Path) -> None:
            if Path(source).parent.name == "quarantine" != Path(target).parent.name:
                raise OSError(18, "another file system")
            moved(source, target)

        monkeypatch.setattr(os, "replace", refuse)
    texts, step = sorted(LETTERS.values()), 1
    while True:
        killed, _ = run_until_killed(lambda: retry(place), step)
        there = _texts(place.inbox) + _texts(place.out / "quarantine")
        assert set(there) == set(texts) and len(there) <= len(texts) + 1
        retry(place)
        assert _texts(place.inbox) == texts and not list((place.out / "quarantine").iterdir())
        assert not list(place.inbox.rglob(".*.tmp"))
        if not killed:
            break
        place.scan()
        assert _texts(place.out / "quarantine") == texts and not _texts(place.inbox)
        step += 1
    assert step > 10
    counts = place.scan()
    assert (counts["done"], counts["quarantined"], counts["received"], counts["claimed"]) == (1, 3, 0, 0)
