"""A sink takes each result before the ledger's final word, and cannot cost one."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import png
from places import OPTIONS, Place

from edgedx.core.errors import StorageError
from edgedx.core.result import Result
from edgedx.device.scanner.sinks import ScannedImage, Sink


class Taker(Sink):
    """Keeps what it is given; may fail."""

    name = "taker"

    def __init__(self, place: Place, failure: Exception | None = None) -> None:
        self.place, self.failure, self.closed = place, failure, False
        self.taken: list[tuple[Result, Path | None, bool]] = []

    def publish(self, finding: ScannedImage, path: Path, source: Path | None) -> None:
        assert Result.model_validate_json(path.read_text()) == finding.result, "before its JSON is there"
        self.taken.append((finding.result, source, finding.canvas is not None))
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        self.closed = True


def _with(taker: Taker) -> dict:  # type: ignore[type-arg]
    return {"options": replace(OPTIONS, sinks=lambda bundle, out: [taker])}


def test_each_result_is_given_with_its_image_and_its_file(place: Place) -> None:
    png(place.inbox / "a.png")
    (place.inbox / "letter.txt").write_text("Dear colleague")
    taker = Taker(place)
    place.scan(**_with(taker))
    found = {result.source.name: (result.status, source, seen) for result, source, seen in taker.taken}
    assert found == {
        "a.png": ("done", place.inbox / "a.png", True),
        "letter.txt": ("quarantined", place.inbox / "letter.txt", False),
    }
    assert taker.closed


def test_a_sink_that_fails_costs_no_result_and_tells_no_secret(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    png(place.inbox / "a.png")
    counts = place.scan(**_with(Taker(place, ValueError("CANARY^NAME"))))
    assert counts["done"] == 1
    assert "sink=taker failed: ValueError" in caplog.text and "CANARY" not in caplog.text


def test_a_full_disk_stops_the_scanner_and_the_result_comes_again(place: Place) -> None:
    png(place.inbox / "a.png")
    with pytest.raises(StorageError):
        place.scan(**_with(Taker(place, StorageError("full", next_step=str(errno.ENOSPC)))))
    taker = Taker(place)
    assert place.scan(**_with(taker))["done"] == 1 and len(taker.taken) == 1
