"""DICOM objects of results: jobs left by the scanner, done by a process of their own, and never twice."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bundles import dicom, png
from death import run_until_killed
from places import CANARY, OPTIONS, Place

from edgedx.device.pacs import outputs
from edgedx.device.pacs.companion import Companion
from edgedx.device.pacs.outbox import Outbox
from edgedx.device.pacs.outputs import DicomOutputs, Job, Wanted
from edgedx.device.pacs.outputs_worker import MAX_STARTS, Maker
from edgedx.dicom.writing.derived import local_time
from edgedx.dicom.writing.make import write_dicom

WANTED = Wanted(sr=True, sc=True, disk_floor=0)


def _scan(place: Place, wanted: Wanted = WANTED) -> None:
    place.scan(options=replace(OPTIONS, sinks=lambda bundle, out: [DicomOutputs(out, wanted)]))


def _make(place: Place, wanted: Wanted = WANTED) -> list[str]:
    """Do the jobs in this process; returns what was told."""
    told: list[str] = []
    Maker(place.out, wanted, tell=told.append).run()
    return told


def _jobs(place: Place) -> list[Path]:
    return sorted((place.out / "dicom/jobs").iterdir())


def _objects(place: Place) -> dict[str, pydicom.Dataset]:
    """By the end of their names."""
    return {path.name.partition("-")[2]: pydicom.dcmread(path) for path in (place.out / "dicom").glob("*.dcm")}


def _warnings(place: Place) -> list[str]:
    return [json.loads(path.read_text())["code"] for path in (place.out / "dicom").glob("*.warning.json")]


def test_a_dicom_image_gets_a_report_and_a_picture_and_others_none(place: Place) -> None:
    dicom(place.inbox / "a.dcm", 1, name=CANARY)
    png(place.inbox / "b.png", 2)
    (place.inbox / "letter.txt").write_text("Dear colleague")
    _scan(place)
    assert len(_jobs(place)) == 1
    assert _make(place) == [] and _jobs(place) == []
    made, result = _objects(place), place.results()["a.dcm"]
    assert set(made) == {"sr.dcm", "sc.dcm"} and made["sc.dcm"].pixel_array.shape[2] == 3
    assert made["sr.dcm"].PatientName == CANARY
    assert (made["sr.dcm"].ContentDate, made["sr.dcm"].ContentTime) == local_time(result["created"])


def test_a_refusal_gets_a_report_only_when_asked(place: Place) -> None:
    write_dicom(place.inbox / "a.dcm", np.arange(4096, dtype=np.uint8).reshape(64, 64), kind="SC")
    _scan(place)
    assert place.results()["a.dcm"]["status"] == "refused" and _jobs(place) == []
    place.out = place.out.with_name("out2")
    asked = replace(WANTED, refused=True)
    _scan(place, asked)
    assert _make(place, asked) == [] and set(_objects(place)) == {"not-assessed.dcm"}


def test_an_image_without_a_patient_keeps_its_result_and_gets_a_code(place: Place) -> None:
    dicom(place.inbox / "a.dcm", 1)
    with pydicom.dcmread(place.inbox / "a.dcm") as dataset:
        dataset.PatientID = ""
        dataset.save_as(place.inbox / "a.dcm")
    _scan(place)
    told = _make(place)
    assert _warnings(place) == ["NO_PATIENT_ID"] and "code=NO_PATIENT_ID" in told[0]
    assert _objects(place) == {} and place.results()["a.dcm"]["status"] == "done" and _jobs(place) == []


@pytest.mark.parametrize("what", ["gone", "changed"])
def test_a_source_that_is_not_there_any_more_gets_a_code(place: Place, what: str) -> None:
    path = dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    path.unlink() if what == "gone" else dicom(path, 2)
    _make(place)
    assert _warnings(place) == ["SOURCE_GONE"] and _objects(place) == {}


def test_nothing_of_a_patient_is_told(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    dicom(place.inbox / f"{CANARY}.dcm", 1, name="SINGLE" + CANARY.replace("^", ""))
    _scan(place)
    path = place.inbox / f"{CANARY}.dcm"
    told = _make(place)
    path.unlink()
    said = capfd.readouterr()
    assert "JANE" not in "".join(told) + said.out + said.err


def test_an_object_is_made_once_whatever_comes_again(place: Place) -> None:
    dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    (job,) = _jobs(place)
    again = job.read_bytes()
    _make(place)
    before = {path.name: path.read_bytes() for path in (place.out / "dicom").glob("*.dcm")}
    job.write_bytes(again)
    (result,) = (place.out / "results").glob("*.json")
    result.write_text(result.read_text().replace('"created": "20', '"created": "21'))  # as after a replay
    _make(place)
    assert {path.name: path.read_bytes() for path in (place.out / "dicom").glob("*.dcm")} == before


def test_what_was_sent_is_not_made_again(place: Place) -> None:
    dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    (job,) = _jobs(place)
    again = job.read_bytes()
    box = Outbox(place.out / "dicom/outbox.sqlite")
    Maker(place.out, WANTED, box).run()
    for parcel in box.next(9):
        (place.out / "dicom" / parcel.file).unlink()
        box.settle(parcel, "sent", "0x0000")
    job.write_bytes(again)
    Maker(place.out, WANTED, box).run()
    assert box.counts()["sent"] == 2 and _objects(place) == {} and _jobs(place) == []


def test_a_job_that_ends_its_process_is_given_up_with_a_code(place: Place) -> None:
    dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    (job,) = _jobs(place)
    job.rename(job.with_name(f"{job.stem}.{MAX_STARTS}.npz"))
    _make(place)
    assert _warnings(place) == ["CRASHED"] and _jobs(place) == []


def test_a_job_that_hangs_ends_its_process_and_is_counted(place: Place) -> None:
    path = dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    path.unlink()
    os.mkfifo(path)  # as a share that is gone: opening it waits for ever
    child = os.fork()
    if child == 0:
        Maker(place.out, WANTED, seconds=1).run()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGALRM
    assert [job.name.partition(".")[2] for job in _jobs(place)] == ["1.npz"]


def test_a_nearly_full_disk_stops_objects_before_results(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    dicom(place.inbox / "a.dcm", 1)
    monkeypatch.setattr(outputs, "LOW", 1 << 40)
    low = replace(WANTED, disk_floor=1)
    _scan(place, low)
    (job,) = _jobs(place)
    assert place.results()["a.dcm"]["status"] == "done" and job.stat().st_size < 1000, "no picture in it"
    assert _make(place, low) == [] and len(_jobs(place)) == 1, "it waits"
    monkeypatch.undo()
    _make(place)
    assert set(_objects(place)) == {"sr.dcm"} and _warnings(place) == ["NO_PICTURE"]


def test_a_job_survives_its_file() -> None:
    canvas, evidence = np.arange(12, dtype=np.uint16).reshape(3, 4), np.ones((2, 2), np.float32)
    job = Job(Path("/inbox/\udcffä.dcm"), canvas, evidence, "pneumonia")
    back = Job.of_bytes(job.to_bytes())
    assert (back.source, back.shown) == (job.source, job.shown) and job.to_bytes() == back.to_bytes()
    assert np.array_equal(back.canvas, canvas) and back.canvas.dtype == canvas.dtype  # type: ignore[arg-type, union-attr]


def _kill_everywhere(place: Place, stride: int) -> None:
    """Scanner with its sink, then the maker, each killed at every step in turn; whatever comes after them is whole."""
    dicom(place.inbox / "a.dcm", 1)
    _scan(place)
    (job,) = _jobs(place)
    job_bytes = job.read_bytes()
    wanted = replace(WANTED, sc=False)

    def work() -> None:
        Maker(place.out, wanted, Outbox(place.out / "dicom/outbox.sqlite")).run()

    _make(place, wanted)  # imports, before anything forks
    expected = (place.out / "dicom" / f"{job.stem}-sr.dcm").read_bytes()
    at = 1
    while True:
        for path in (place.out / "dicom").iterdir():
            if path.is_file():
                path.unlink()
        job.write_bytes(job_bytes)
        killed, _ = run_until_killed(work, at)
        run_until_killed(work)
        box = Outbox(place.out / "dicom/outbox.sqlite")
        assert [one.file for one in box.next(9)] == [f"{job.stem}-sr.dcm"] and _jobs(place) == []
        assert (place.out / "dicom" / f"{job.stem}-sr.dcm").read_bytes() == expected
        box.close()
        if not killed:
            break
        at += stride
    assert at > 15


def test_a_kill_of_the_maker_loses_nothing_and_makes_nothing_twice(place: Place) -> None:
    _kill_everywhere(place, 7)


@pytest.mark.slow
def test_a_kill_of_the_maker_at_any_step(place: Place) -> None:
    _kill_everywhere(place, 1)


def test_a_companion_that_is_killed_comes_back_and_does_its_work(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from edgedx.device.pacs import companion as module

    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.05)
    dicom(place.inbox / "a.dcm", 1)
    wanted = replace(WANTED, sc=False)
    keeper = Companion("outputs", "edgedx.device.pacs.outputs_worker", [str(place.out), json.dumps(wanted.__dict__)])
    sink = DicomOutputs(place.out, wanted, (keeper,))
    first = _pid(keeper, None)
    os.kill(first, signal.SIGKILL)
    second = _pid(keeper, first)
    assert second != first
    place.scan(options=replace(OPTIONS, sinks=lambda bundle, out: [sink]))  # closing waits until the work is done
    assert set(_objects(place)) == {"sr.dcm"} and _jobs(place) == []
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


def _pid(keeper: Companion, other: int | None) -> int:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if keeper.pid not in (None, other):
            assert keeper.pid is not None
            return keeper.pid
        time.sleep(0.01)
    raise AssertionError("it never started")
