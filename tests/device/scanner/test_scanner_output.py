"""What the scanner tells, and to whom."""

from __future__ import annotations

import logging

import pytest
from bundles import dicom, png
from places import CANARY, SETTLE, Place

from edgedx.device.scanner.scanner import Options


def test_the_log_holds_no_file_name_and_no_header(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    dicom(place.inbox / f"{CANARY}.dcm", 1, name=CANARY)
    dicom(place.inbox / f"{CANARY}/other.dcm", 2, kind="SC", name=CANARY)
    (place.inbox / f"{CANARY}.txt").write_text(CANARY)
    assert place.scan(options=Options(1.0, SETTLE, disk_floor=0))["quarantined"] == 1
    assert "status=done" in caplog.text and "status=quarantined" in caplog.text
    assert "DOE" not in caplog.text and "JANE" not in caplog.text
    told = [path.read_text().replace(f"{CANARY}.dcm", "").replace(f"{CANARY}/other.dcm", "")
            for path in (place.out / "results").glob("*.json") if ".txt" not in path.read_text()]  # fmt: skip
    assert len(told) == 2 and all("DOE" not in text for text in told)  # the name of the file is all that a result holds


def test_the_table_has_one_line_per_content_in_order_of_arrival(place: Place) -> None:
    for seed in range(3):
        png(place.inbox / f"{seed}.png", seed)
    png(place.inbox / "again.png", 0)
    (place.inbox / "letter.txt").write_text("text")
    place.scan()
    rows = place.table()
    sequence = [int(row["sequence"]) for row in rows]
    assert len(rows) == len(set(sequence)) == 4 and sequence == sorted(sequence)
    assert all((place.out / row["result"]).is_file() for row in rows)
    assert [row["reason"] for row in rows if row["status"] == "quarantined"] == ["UNKNOWN_FORMAT"]


@pytest.mark.parametrize("name", ["=1+1.png", "+1.png", "-1.png", "@SUM.png", "\t=1.png", "\r=1.png", "\n=1.png"])
def test_a_name_never_becomes_a_formula(place: Place, name: str) -> None:
    png(place.inbox / name)
    place.scan()
    assert place.table()[0]["file"][0] in "'?"
