"""The page about a thousand devices: which ten to call, by statuses that are really signed."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from boxes import ILL, NOW, stamp, summary, write_boxes
from browser import chromium
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fleets import FleetPlace

from edgedx.core.bundle.signing import SigningKey
from edgedx.core.errors import InputOutputError, UsageError
from edgedx.device.fleet.status import ENDING, seal
from edgedx.device.fleet.terms import Facts, Release, place_in_rings
from edgedx.lab.fleet.boxes import Fleet, Heard, expected, read_fleet
from edgedx.lab.fleet.judge import judge
from edgedx.lab.fleet.report import Reported, write_report


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reported]:
    folder = tmp_path_factory.mktemp("thousand")
    write_boxes(folder)
    done = write_report(folder / "statuses", folder / "fleet.html", boxes=folder / "boxes", now=NOW)
    return folder, done


def test_the_ten_that_need_a_call_and_no_other(thousand: tuple[Path, Reported]) -> None:
    folder, done = thousand
    assert (done.devices, done.to_call, done.unreadable) == (1000, 10, 0)
    assert {one.name for one in done.first} == {f"clinic-{number:04d}" for number in (*ILL, 999)}
    assert done.first[0].name == "clinic-0017", "a red light first"
    assert done.by_kind == {"trouble": 3, "silent": 3, "behind": 2, "unlike": 2}
    twin = json.loads((folder / "fleet.json").read_text())
    assert sum(one["call"] for one in twin["boxes"]) == 10 and all(one["proven"] for one in twin["boxes"][1:3])


def test_the_page_needs_nothing_from_elsewhere(thousand: tuple[Path, Reported]) -> None:
    text = (thousand[0] / "fleet.html").read_text()
    assert "10 of 1,000 devices need a call" in text and "not a medical device" in text
    assert "<script" not in text and "http://" not in text and "https://" not in text
    assert len(text) < 300_000


def test_chromium_shows_the_ten_on_the_first_screen(thousand: tuple[Path, Reported]) -> None:
    page = thousand[0] / "fleet.html"
    with chromium() as browser:
        for width in (1100, 390):
            seen = browser.look(page, width)
            assert seen.scroll_width <= width and seen.messages == [] and len(seen.requests) == 1
        browser.look(page, 1100)
        bottom = browser.call(
            "Runtime.evaluate",
            expression="document.querySelector('#first tbody tr:nth-child(10)').getBoundingClientRect().bottom",
        )["result"]["value"]
    assert bottom < 1000, "the tenth is seen without scrolling on a screen of 1080 lines"


def _fleet(*changes: dict[str, Any], count: int = 20) -> Fleet:
    heard = {}
    for number in range(count):
        one = summary(f"box-{number}", 3 * number, **(changes[number] if number < len(changes) else {}))
        heard[one.box] = Heard(one, 0.5, True)
    return Fleet(heard, tuple(heard))


def _reasons(fleet: Fleet, releases: Any = None) -> dict[str, list[str]]:
    judged = judge(fleet, expected(fleet, releases))
    return {one.name: [reason.text for reason in one.reasons] for one in judged if one.call}


def test_all_is_well() -> None:
    assert _reasons(_fleet()) == {}


def test_nobody_is_behind_while_a_release_is_going_out() -> None:
    old = {"model__version": "2", "update__outcome": "later"}
    assert _reasons(_fleet(*[old] * 5)) == {}, "three of four have it"
    late = _reasons(_fleet(*[old] * 3))
    assert set(late) == {"box-0", "box-1", "box-2"} and "should have 3" in late["box-0"][0]


def test_who_is_behind_is_told_by_the_rings_where_the_repository_is_known() -> None:
    def release(version: str, ring: int) -> Release:
        facts = Facts(name="chest", version=version, profile="orin-nano-8gb", digest="0" * 64, ring=ring)
        return Release(path=f"bundles/chest-{version}.edgedx", length=1, sha256="0" * 64, facts=facts)

    order = sorted(range(20), key=lambda n: place_in_rings(f"box-{n}"))
    ring, early = int(place_in_rings(f"box-{order[5]}")), order[:5]
    assert place_in_rings(f"box-{order[4]}") < ring
    changes: list[dict[str, Any]] = [{} for _ in range(20)]
    for number in early[:4]:
        changes[number] = {"model__version": "4"}
    late = _reasons(_fleet(*changes), [release("3", 100), release("4", ring)])
    assert set(late) == {f"box-{early[4]}"} and "has chest 3, should have 4" in late[f"box-{early[4]}"][0]


def test_a_few_devices_are_not_compared() -> None:
    slow = {"scanner__seconds_per_image": 9.0}
    assert _reasons(_fleet(slow, count=7)) == {}
    assert "9 s for an image" in _reasons(_fleet(slow, count=9))["box-0"][0]


def test_a_little_different_is_not_unlike() -> None:
    assert (
        _reasons(
            _fleet({"scanner__seconds_per_image": 0.15}, {"scanner__results": {"done ": 900, "refused BLANK": 100}})
        )
        == {}
    )


def test_many_silent_at_once_point_to_the_server(tmp_path: Path) -> None:
    write_boxes(tmp_path, 30, ill=lambda number: {"written": stamp(20)} if number < 12 else {})
    write_report(tmp_path / "statuses", tmp_path / "p.html", boxes=tmp_path / "boxes", now=NOW)
    text = (tmp_path / "p.html").read_text()
    assert "look at the server" in text and "12 of 30 devices need a call" in text and "2 more" in text


def test_forged_changed_foreign_and_repeated_statuses(tmp_path: Path) -> None:
    write_boxes(tmp_path, 4)
    folder = tmp_path / "statuses"
    key = SigningKey("clinic-0001", Ed25519PrivateKey.from_private_bytes((1).to_bytes(32, "big")))
    stranger = SigningKey("clinic-0002", Ed25519PrivateKey.generate())
    newest = summary("clinic-0001", 1, sequence=900, troubles=["STUCK"])
    (folder / f"old{ENDING}").write_bytes(seal(summary("clinic-0001", 1, sequence=2, troubles=["PACS"]), key))
    (folder / "stick").mkdir()
    (folder / "stick" / f"new{ENDING}").write_bytes(seal(newest, key))
    (folder / f"forged{ENDING}").write_bytes(seal(summary("clinic-0002", 2, sequence=999), stranger))
    (folder / f"of-another{ENDING}").write_bytes(seal(summary("clinic-0003", 3, sequence=999), key))
    changed = (folder / f"clinic-0000{ENDING}").read_bytes().replace(b'"pending": ', b'"pending": 1')
    (folder / f"clinic-0000{ENDING}").write_bytes(changed)
    (folder / f"broken{ENDING}").write_text("{")
    (folder / f"huge{ENDING}").write_bytes(b" " * (1 << 20))
    fleet = read_fleet(folder, tmp_path / "boxes", now=NOW)
    assert set(fleet.heard) == {"clinic-0001", "clinic-0002", "clinic-0003"}
    assert fleet.heard["clinic-0001"].summary.sequence == 900
    said = "\n".join(fleet.unreadable)
    for text in (
        "key that is not known",
        "is signed by the key of clinic-0001",
        "was changed",
        "no status file",
        "larger",
    ):
        assert text in said
    assert len(fleet.unreadable) == 5
    assert "never heard of" in str(_reasons_of(fleet)["clinic-0000"])


def _reasons_of(fleet: Fleet) -> dict[str, list[str]]:
    return {one.name: [reason.text for reason in one.reasons] for one in judge(fleet, {})}


def test_a_device_without_a_clock_is_dated_by_its_file(tmp_path: Path) -> None:
    write_boxes(tmp_path, 1, ill=lambda number: {"written": "1970-01-01T00:10:00Z", "clock_trusted": False})
    file = next((tmp_path / "statuses").iterdir())
    os.utime(file, (NOW - 86400, NOW - 86400))
    assert read_fleet(tmp_path / "statuses", now=NOW).heard["clinic-0000"].age_days == pytest.approx(1.0)


def test_markup_in_a_file_name_is_text(tmp_path: Path) -> None:
    write_boxes(tmp_path, 1)
    (tmp_path / "statuses" / f"<img src=x>{ENDING}").write_text("{}")
    write_report(tmp_path / "statuses", tmp_path / "p.html", now=NOW)
    text = (tmp_path / "p.html").read_text()
    assert "<img" not in text and "&lt;img" in text and "not proven" in text


def test_nothing_to_report_on(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="no status file"):
        write_report(tmp_path, tmp_path / "p.html")
    with pytest.raises(UsageError, match="html"):
        write_report(tmp_path, tmp_path / "p.txt")


def test_with_a_real_repository_and_device(fleet: FleetPlace) -> None:
    from edgedx.device.fleet.status import tell

    fleet.join()
    fleet.publish("1")
    fleet.install()
    folder = fleet.folder / "statuses"
    folder.mkdir()
    tell(fleet.root, fleet.folder / "out", str(folder))
    done = write_report(folder, fleet.folder / "p.html", boxes=fleet.root / "fleet", repo=fleet.repo)
    assert done.devices == 1 and "no scanner has ever run" in [one.text for one in done.first[0].reasons]
