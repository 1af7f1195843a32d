"""`edgedx scan export --deid`: copies with their results, chosen, named and linked by nothing but the key."""

from __future__ import annotations

import json
from pathlib import Path

import pydicom
import pytest
from bundles import dicom, png
from places import CANARY, Place

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.result import Result

pytest.importorskip("dicomanonymizer", reason="dicom-anonymizer is not installed")

from edgedx.device.export import deidentified_copies
from edgedx.device.export.deidentified_copies import KEY, check_target, export, select
from edgedx.device.operation.audit import verify
from edgedx.device.operation.audit_file import AUDIT


@pytest.fixture
def scanned(place: Place) -> Place:
    """Two images done, one refused, one PNG, one letter; all under a patient's name."""
    dicom(place.inbox / f"{CANARY}/1.dcm", 1, name=CANARY)
    dicom(place.inbox / f"{CANARY}-2.dcm", 2, name=CANARY)
    dicom(place.inbox / f"{CANARY}-other.dcm", 3, kind="SC", name=CANARY)
    png(place.inbox / f"{CANARY}.png")
    (place.inbox / f"{CANARY}.txt").write_text(CANARY)
    assert place.scan() == {"received": 0, "claimed": 0, "done": 3, "refused": 1, "quarantined": 1}
    return place


def test_what_is_written_names_nobody_and_links_to_nothing(scanned: Place, tmp_path: Path) -> None:
    place, to = scanned, tmp_path / "copies"
    chosen = select(place.out, ["done", "refused"], (), 0)
    found = export(chosen, place.out, place.inbox, to)
    assert found.written == 3 and dict(found.left_out) == {"NOT_DICOM": 1}
    originals = [Result.model_validate_json(path.read_text()) for path in (place.out / "results").glob("*.json")]
    hashes = [text for one in originals for text in (one.key, one.key[:12], one.source.sha256)]
    files = sorted(to.iterdir())
    assert len(files) == 6 and {path.suffix for path in files} == {".dcm", ".json"}
    for path in files:
        content = (path.name.encode() + path.read_bytes()).lower()
        assert not [
            text for text in (*CANARY.lower().replace("^", "-").split("-"), *hashes) if text.encode() in content
        ]
    for path in to.glob("*.json"):
        told, header = Result.model_validate_json(path.read_text()), pydicom.dcmread(path.with_suffix(".dcm"))
        assert told.source.name == path.with_suffix(".dcm").name
        assert told.source.sop_instance_uid == header.SOPInstanceUID and header.PatientIdentityRemoved == "YES"
        assert told.sequence == 0 and not told.clock_trusted and told.created.startswith("1970")
    by_label = sorted(
        json.dumps(one.prediction and one.prediction.model_dump()) for one in originals if one.source.format == "dicom"
    )
    copies = [Result.model_validate_json(path.read_text()) for path in to.glob("*.json")]
    assert sorted(json.dumps(one.prediction and one.prediction.model_dump()) for one in copies) == by_label


def test_again_is_the_same_and_inbox_and_results_are_as_they_were(scanned: Place, tmp_path: Path) -> None:
    place, to = scanned, tmp_path / "copies"
    before = {
        path: path.read_bytes() for folder in (place.inbox, place.out) for path in folder.rglob("*") if path.is_file()
    }
    chosen = select(place.out, ["done"], (), 0)
    export(chosen, place.out, place.inbox, to)
    first = {path.name: path.read_bytes() for path in to.iterdir()}
    export(chosen, place.out, place.inbox, to)
    assert {path.name: path.read_bytes() for path in to.iterdir()} == first
    key = place.out / KEY
    assert key.stat().st_mode & 0o777 == 0o600
    after = {
        path: path.read_bytes() for folder in (place.inbox, place.out) for path in folder.rglob("*") if path.is_file()
    }
    after.pop(key)
    events = [json.loads(line) for line in after.pop(place.out / AUDIT).splitlines()]
    assert after == before
    assert [event["key"] for event in events] == [
        result.key for result in chosen if result.source.format == "dicom"
    ] * 2
    assert {event["event"] for event in events} == {"110106"} and verify(place.out / AUDIT).intact


def test_what_cannot_be_recorded_is_not_exported(scanned: Place, tmp_path: Path) -> None:
    place, to = scanned, tmp_path / "copies"
    (place.out / AUDIT).mkdir()
    with pytest.raises(InputOutputError, match=AUDIT):
        export(select(place.out, ["done"], (), 0), place.out, place.inbox, to)
    assert not to.exists()


def test_a_copy_is_recorded_before_it_is_there(scanned: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, seen = scanned, []
    write = deidentified_copies.write_bytes

    def writing(path: Path, data: bytes) -> None:
        seen.append((place.out / AUDIT).read_bytes().count(b"110106"))
        write(path, data)

    monkeypatch.setattr(deidentified_copies, "write_bytes", writing)
    export(select(place.out, ["done"], (), 0), place.out, place.inbox, tmp_path / "copies")
    assert seen == [1, 2]


def test_what_is_left_out_is_not_recorded_as_exported(scanned: Place, tmp_path: Path) -> None:
    place = scanned
    for path in place.inbox.rglob("*.dcm"):
        path.unlink()
    assert export(select(place.out, ["done"], (), 0), place.out, place.inbox, tmp_path / "copies").written == 0
    assert (place.out / AUDIT).read_bytes() == b""


def test_results_are_chosen_by_status_key_and_sequence(scanned: Place) -> None:
    out = scanned.out
    every = select(out, ["done", "refused"], (), 0)
    assert [one.sequence for one in every] == sorted(one.sequence for one in every) and len(every) == 4
    assert {one.status for one in select(out, ["refused"], (), 0)} == {"refused"}
    assert select(out, ["done", "refused"], [every[1].key[:10]], 0) == [every[1]]
    assert select(out, ["done", "refused"], (), every[2].sequence) == every[2:]
    with pytest.raises(UsageError, match="no result"):
        select(out, ["done"], ["f" * 12], 0)


def test_an_image_that_changed_or_went_is_left_out(scanned: Place, tmp_path: Path) -> None:
    place = scanned
    dicom(place.inbox / f"{CANARY}-2.dcm", 9, name=CANARY)
    (place.inbox / f"{CANARY}/1.dcm").unlink()
    found = export(select(place.out, ["done"], (), 0), place.out, place.inbox, tmp_path / "copies")
    assert found.written == 0 and dict(found.left_out) == {"ABSENT": 2, "NOT_DICOM": 1}
    assert not (tmp_path / "copies").exists()


def test_a_result_that_names_a_path_outside_the_inbox_reads_nothing(scanned: Place, tmp_path: Path) -> None:
    place = scanned
    dicom(tmp_path / "secret.dcm", 1, name=CANARY)  # the very content that the result is of
    (one, *_) = (one for one in select(place.out, ["done"], (), 0) if one.source.name.endswith("1.dcm"))
    for name in ("../secret.dcm", str(tmp_path / "secret.dcm")):
        forged = one.model_copy(update={"source": one.source.model_copy(update={"name": name})})
        assert export([forged], place.out, place.inbox, tmp_path / "copies").written == 0


def test_copies_may_not_go_where_they_would_be_scanned_or_taken_for_results(scanned: Place, tmp_path: Path) -> None:
    place = scanned
    for to in (place.inbox, place.inbox / "x", place.out, place.out / "results"):
        with pytest.raises(UsageError, match="lies inside"):
            check_target(place.out, place.inbox, to)
    check_target(place.out, place.inbox, tmp_path / "copies")
