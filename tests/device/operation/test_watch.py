"""The scanner feeds the monitor: durably, once, cheaply; and a person may say that it is as usual."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from bundles import GOLDEN, MODEL, dicom, golden, manifest, model, picture, png
from monitored import brighter, images, reference, write
from places import OPTIONS, Place

from edgedx.core.bundle.manifest import Bundle, open_bundle, write_bundle
from edgedx.core.bundle.reference import part_name
from edgedx.core.errors import BundleError, UsageError
from edgedx.core.files import canonical_json
from edgedx.core.result import Result
from edgedx.device.monitor.examine import examine
from edgedx.device.monitor.light import EXAMINATION, light
from edgedx.device.monitor.store import MONITOR, Watched
from edgedx.device.operation.audit import verify
from edgedx.device.operation.audit_file import AUDIT
from edgedx.device.operation.heartbeat import Heartbeat, complaints, read_heartbeat
from edgedx.device.operation.prometheus import metrics_text
from edgedx.device.operation.watch import Watch, accept_as_usual, read_examination
from edgedx.device.scanner.sinks import ScannedImage


def scan(place: Place) -> None:
    heartbeat = Heartbeat(place.out)
    options = replace(OPTIONS, sinks=lambda bundle, out: [heartbeat, Watch(out, bundle)])
    with place.scanner(options=options) as scanner:
        scanner.on_beat = lambda: heartbeat.beat(scanner)
        scanner.run_once()
        heartbeat.stopped(scanner, finished=True)


def watched(place: Place) -> list[dict[str, object]]:
    store = Watched(place.out / MONITOR, read_only=True)
    try:
        model = store.model()
        return [] if model is None else [one.facts for one in store.images(model.number, last=100)]
    finally:
        store.close()


def test_every_result_is_watched_once_and_by_figures_alone(place: Place) -> None:
    for index in range(3):
        png(place.inbox / f"{index}.png", index)
    dicom(place.inbox / "doe.dcm", 7, name="CANARY^JANE")
    dicom(place.inbox / "other.dcm", 4, kind="SC")
    scan(place)
    scan(place)
    found = watched(place)
    assert len(found) == 5 and [one["refused"] for one in found if "refused" in one] == ["MODALITY"]
    assert "CANARY" not in (place.out / MONITOR).read_bytes().decode("latin1")
    shown = json.loads((place.out / EXAMINATION).read_text())
    assert shown["light"] == {"colour": "grey", "code": "few", "values": {"count": 5, "needed": 195}}
    state = read_heartbeat(place.out)
    assert state["monitor"]["light"]["code"] == "few" and complaints(state) == []


def test_a_kill_between_monitor_and_ledger_counts_nothing_twice(place: Place, bundle: Bundle) -> None:
    for index in range(4):
        png(place.inbox / f"{index}.png", index)
    scan(place)
    before = watched(place)
    store = Watched(place.out / MONITOR)
    store.close()
    watch = Watch(place.out, bundle)  # what a scanner does that was killed before the ledger's last word
    for path in sorted((place.out / "results").glob("*.json")):
        watch.publish(ScannedImage(Result.model_validate_json(path.read_text()), picture(1, size=16)), path, None)
    watch.flush()
    watch.close()
    assert watched(place) == before and examine(place.out)["window"]["images"] == 4


def test_a_damaged_database_is_put_aside_and_costs_no_result(place: Place) -> None:
    png(place.inbox / "a.png", 1)
    scan(place)
    (place.out / MONITOR).write_bytes(b"SQLite format 3\0" + b"\xff" * 8000)
    png(place.inbox / "b.png", 2)
    scan(place)
    assert {one["status"] for one in place.results().values()} == {"done"} and len(place.results()) == 2
    assert (place.out / f"{MONITOR}.damaged-1").is_file() and not (place.out / f"{MONITOR}.damaged-2").exists()
    assert len(watched(place)) == 1


def referring(path: Path, part: bytes) -> Bundle:
    network = model()
    parts = {MODEL: network, GOLDEN: golden(network), part_name("fp32"): part}
    write_bundle(path, manifest(reference={"fp32": part_name("fp32")}), parts)
    return open_bundle(path)


def test_the_bundle_s_reference_is_taken_to_the_device(tmp_path: Path, place: Place) -> None:
    made = reference()
    place.bundle = referring(tmp_path / "x.edgedx", canonical_json(made.model_dump(mode="json")))
    png(place.inbox / "a.png", 1)
    scan(place)
    assert examine(place.out)["reference"]["bundle"] == {"images": made.images}


def test_a_malformed_reference_is_refused_when_the_scanner_starts(tmp_path: Path, place: Place) -> None:
    bundle = referring(tmp_path / "x.edgedx", b"{}")
    place.out.mkdir()
    png(place.inbox / "a.png", 1)
    place.scan()
    (result,) = (Result.model_validate_json(path.read_text()) for path in (place.out / "results").glob("*.json"))
    with pytest.raises(BundleError, match="reference-fp32.json is malformed"):
        Watch(place.out, bundle).publish(ScannedImage(result), Path(), None)


def test_the_sites_own_reference_is_taken_from_its_first_images(place: Place, bundle: Bundle) -> None:
    place.out.mkdir()
    watch, (done, *_) = Watch(place.out, bundle), [_result(place)]
    watch.publish(ScannedImage(done), Path(), None)
    watch._batch = images(500)
    watch.flush()
    found = examine(place.out)
    assert found["reference"]["site"]["images"] == 500 and found["reference"]["site_images_needed"] == 0
    watch.close()


def _result(place: Place) -> Result:
    png(place.inbox / "first.png", 1)
    place.scan()
    (path,) = (place.out / "results").glob("*.json")
    return Result.model_validate_json(path.read_text())


def changed(out: Path) -> None:
    write(out, [images(500), images(200, first=500, day=10)], reference())
    write(out, [images(250, first=1000, day=14, change=brighter)], reference())


def test_a_person_may_say_that_it_is_as_usual_and_the_audit_log_says_so(tmp_path: Path) -> None:
    out = tmp_path / "out"
    changed(out)
    assert examine(out)["light"]["code"] == "pictures"
    found = accept_as_usual(out)
    assert found["light"]["colour"] == "green" and light(out).colour == "green"
    assert [one["stream"] for one in found["streams"] if one["known"]] == ["mean"]
    assert verify(out / AUDIT).broken_line is None and "Monitoring reference accepted" in (out / AUDIT).read_text()
    write(out, [images(200, first=3000, day=30, change=lambda one, rng: replace(
        one, numbers={**one.numbers, "mean": one.numbers["mean"] + 0.3}))], reference())  # fmt: skip
    assert examine(out)["light"]["colour"] in ("yellow", "red")  # it grew


def test_too_few_images_are_not_accepted(tmp_path: Path) -> None:
    write(tmp_path, [images(50)], reference())
    with pytest.raises(UsageError, match="50 images are too few") as caught:
        accept_as_usual(tmp_path)
    assert caught.value.next_step == "wait for 150 more"
    assert not (tmp_path / AUDIT).exists()


def test_an_alarm_is_a_complaint_and_a_gauge(tmp_path: Path, place: Place) -> None:
    png(place.inbox / "a.png", 1)
    scan(place)
    changed(tmp_path / "other")
    (place.out / EXAMINATION).write_text(json.dumps(examine(tmp_path / "other")))
    state = read_heartbeat(place.out)
    (said,) = complaints(state)
    assert said.startswith("monitor, yellow: The images look different") and "`edgedx monitor`" in said
    text = metrics_text(state)
    assert 'edgedx_monitor_light{colour="yellow",code="pictures"} 1.0' in text and "edgedx_monitor_alarm 1.0" in text
    assert 'edgedx_monitor_stream_effect{stream="mean",against="bundle"}' in text
    assert 'edgedx_monitor_prevalence{class="pneumonia"}' in text
    assert read_examination(tmp_path) is None


def test_an_image_costs_less_than_a_third_of_a_millisecond(tmp_path: Path, bundle: Bundle, place: Place) -> None:
    """CPU time without the decoder's; a picture of 224 x 224, in batches of 8."""
    result, canvas = _result(place), picture(3, size=224)
    (tmp_path / "w").mkdir()
    watch = Watch(tmp_path / "w", bundle)
    facts = {"Machine": "0" * 16, "Rows": "2048", "Columns": "2048", "PatientAgeYears": "40"}
    spent = []
    for block in range(4):
        begun = time.process_time()
        for batch in range(10):
            for number in range(8):
                one = result.model_copy(update={"key": f"{block:02d}{batch:02d}{number:060d}"})
                watch.publish(ScannedImage(one, canvas, None, facts), Path(), None)
            watch._next_look = float("inf")
            watch._since_look = 0
            watch.flush()
        spent.append((time.process_time() - begun) / 80)
    watch.close()
    assert min(spent) < 0.6e-3  # of which SQLite's commit is a part; benchmarks/monitor_cost.py has the figures
