"""A site's own threshold: judged, confirmed, recorded, and the same for everything that decides or reports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import model, png
from places import OPTIONS
from sites import activate, labelled, site

from edgedx import open_model
from edgedx.core.bundle.local_point import FILE, local_of, point_of, points_of, read_points
from edgedx.core.errors import BundleError, DataError, GateRefused, InputOutputError, UsageError
from edgedx.core.result import Result
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.install.active import open_any
from edgedx.device.install.health import examine, prove
from edgedx.device.install.rollback import rollback
from edgedx.device.install.status import device_status
from edgedx.device.operation.audit import verify
from edgedx.device.operation.audit_file import AUDIT
from edgedx.device.operation.heartbeat import Heartbeat, complaints, read_heartbeat
from edgedx.device.operation.service import ScanJob, scan
from edgedx.device.operation.serving import serve
from edgedx.device.operation.set_threshold import Prepared, clear_local, prepare, prepare_carry_over, set_local
from edgedx.device.runtime.frames import combine
from edgedx.device.runtime.predict import Predictor
from edgedx.device.threshold.cutoffs import Costs
from edgedx.device.threshold.evidence import Evidence
from edgedx.device.threshold.given import Given
from edgedx.device.threshold.propose import Target

AT_90 = Target("sensitivity", 0.9)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return labelled(tmp_path_factory.mktemp("images"), each=60)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return site(tmp_path)[0]


@pytest.fixture(scope="module")
def told(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What the tiny bundle says to the table; read once, as reading takes longer than all the rest."""
    return Given(data=table).evidence(site(tmp_path_factory.mktemp("site"))[1])


def ready(root: Path, told: Evidence, target: Target = AT_90) -> Prepared:
    return prepare(root, lambda bundle: replace(told, manifest=bundle.manifest), None, target, by="amina")


def put(root: Path, told: Evidence, target: Target = AT_90) -> float:
    prepared = ready(root, told, target)
    set_local(prepared, prepared.value)
    return prepared.judged.proposal.threshold


def test_it_is_in_force_recorded_and_tells_what_it_was_chosen_on(root: Path, told: Evidence) -> None:
    value = put(root, told)
    bundle = open_any(root)
    assert point_of(bundle).threshold == {"bright": value} and point_of(bundle).name == "local"
    assert [one.name for one in points_of(bundle)] == ["local", "youden"]
    assert point_of(bundle, "youden").threshold == {"bright": 0.5}
    local = local_of(bundle)
    assert local is not None and local.bundle == bundle.digest
    entry = local.thresholds["bright"]
    assert (entry.rule, entry.by, entry.images, entry.positives, entry.source) == (
        "sensitivity-0.9", "amina", 120, 60, "images",
    )  # fmt: skip
    assert verify(root / AUDIT).intact
    (event,) = [json.loads(line) for line in (root / AUDIT).read_text().splitlines()]
    assert (event["action"], event["threshold"], event["by"], event["bundle"]) == (
        "threshold set", value, "amina", bundle.digest,
    )  # fmt: skip


def test_everything_that_decides_decides_alike(root: Path, table: Path, told: Evidence, tmp_path: Path) -> None:
    """Scanner, its frames, `predict`, the gate and `evaluate`: one threshold, and each says whose it is."""
    from edgedx.device.clinic.gate import against_promise, examine_samples
    from edgedx.device.clinic.samples import read_samples
    from edgedx.lab.judge.subject import open_subject

    value = put(root, told)
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    pictures = sorted(table.parent.glob("*.png"))[:30]
    for picture in pictures:
        (inbox / picture.name).write_bytes(picture.read_bytes())
    scan(ScanJob(inbox=inbox, bundle=root, out=out, once=True, settle=0.05, workers=1), pytest.fail)
    results = {one.source.name: one for one in _results(out)}
    with open_model(root) as asked:
        predicted = {path.name: asked.predict(path) for path in pictures}
    assert {one.prediction.label for one in results.values() if one.prediction} == {"dark", "bright"}
    for name, one in results.items():
        assert one.prediction is not None
        assert (one.prediction.origin, one.prediction.operating_point) == ("local", "local")
        assert one.prediction.threshold == {"bright": value} == predicted[name].threshold
        assert one.prediction.label == predicted[name].label
        assert one.prediction.label == ("bright" if one.prediction.probabilities["bright"] >= value else "dark")
        assert predicted[name].origin == predicted[name].to_dict()["origin"] == "local"
    assert f"bright {value:.4f} local" in (out / "results.csv").read_text()
    assert json.loads((out / AUDIT).read_text().splitlines()[0])["threshold"] == {"bright": value}

    bundle = open_any(root)
    predictor = Predictor(bundle, asked._engine.predictor.runner)
    answers = predictor.predict_canvases(np.stack([one.canvas for one in predicted.values() if one.canvas is not None]))
    whole = combine(predictor, answers).answer.prediction
    assert (whole.origin, whole.threshold) == ("local", {"bright": value})

    samples = read_samples(table, bundle.manifest)
    judged = against_promise(bundle.manifest, samples, examine_samples(bundle, samples), point_of(bundle))
    entry = read_points(root).points[0].thresholds["bright"]
    assert judged.sensitivity is not None and judged.sensitivity.value == pytest.approx(entry.sensitivity.value)
    assert judged.operating_point == "local"
    assert open_subject(root).point(None).threshold == {"bright": value}


def test_reports_and_pictures_for_the_pacs_say_whose_threshold_it_is() -> None:
    pytest.importorskip("highdicom")
    from answers import answered

    from edgedx.dicom.writing.capture_picture import _lines
    from edgedx.dicom.writing.report_sr import _facts, _remarks

    own = answered()
    assert own.prediction is not None and own.prediction.origin == "bundle"
    local = own.model_copy(
        update={"prediction": own.prediction.model_copy(update={"origin": "local", "operating_point": "local"})}
    )
    assert any("chosen at this site" in line for line in _remarks(local)) and "operating point local" in _facts(local)
    assert any("local (chosen at this site)" in line for line in _lines(local, ""))
    assert not any("chosen at this site" in line for line in (*_remarks(own), *_lines(own, "")))


def test_a_point_that_is_named_is_used_and_the_scanner_says_so(root: Path, told: Evidence, tmp_path: Path) -> None:
    put(root, told)
    said: list[str] = []
    (tmp_path / "inbox").mkdir()
    with serve(tmp_path / "inbox", root, tmp_path / "out", operating_point="youden", tell=said.append) as scanner:
        assert scanner.predictor.point.threshold == {"bright": 0.5}
    assert said == ["decides at --point youden, not at the threshold that this site has chosen"]


def test_after_an_update_the_new_bundle_decides_at_its_own_until_it_is_carried_over(
    root: Path, table: Path, told: Evidence, tmp_path: Path
) -> None:
    value = put(root, told)
    new = activate(tmp_path, root, version="2", network=model(0.99))
    assert point_of(open_any(root)).name == "youden"
    assert any("was chosen for tiny 1" in problem for problem in device_status(root).problems)
    prepared = prepare_carry_over(root, Given(data=table).evidence, None, by="joseph")
    assert read_points(root).of(new.digest) is None, "nothing is written before it is confirmed"
    set_local(prepared, prepared.value)
    carried = read_points(root).of(new.digest)
    assert carried is not None and carried.thresholds["bright"].value == value
    assert carried.thresholds["bright"].carried_from == read_points(root).points[1].bundle
    assert carried.thresholds["bright"].rule == "sensitivity-0.9"
    assert not any("was chosen for" in problem for problem in device_status(root).problems)
    rollback(root, examine=examine, prove=prove)
    assert point_of(open_any(root)).threshold == {"bright": value}


def test_what_the_new_bundle_does_not_show_is_not_carried_over(
    root: Path, table: Path, told: Evidence, tmp_path: Path
) -> None:
    put(root, told)
    activate(tmp_path, root, version="2", network=model(3.0), temperature=1.0)
    with pytest.raises(GateRefused, match="not shown|over the budget"):
        prepare_carry_over(root, Given(data=table).evidence, None)


def test_other_images_than_it_was_chosen_on_carry_nothing_over(root: Path, told: Evidence, tmp_path: Path) -> None:
    put(root, told)
    activate(tmp_path, root, version="2", network=model(0.99))
    other = labelled(tmp_path / "others", each=60, seed=9)
    with pytest.raises(DataError, match="not the images and labels"):
        prepare_carry_over(root, Given(data=other).evidence, None)


def test_nothing_to_carry_over(root: Path, table: Path) -> None:
    with pytest.raises(DataError, match="no threshold for bright"):
        prepare_carry_over(root, Given(data=table).evidence, None)


def test_another_value_than_the_one_shown_changes_nothing(root: Path, told: Evidence) -> None:
    prepared = ready(root, told)
    with pytest.raises(UsageError, match="nothing was changed"):
        set_local(prepared, "0.5")
    assert not (root / FILE).exists() and not (root / AUDIT).exists()


def test_the_gate_stands_in_front(root: Path, told: Evidence, tmp_path: Path) -> None:
    with pytest.raises(GateRefused, match="better than chance"):
        ready(root, told, Target("given", 0.999))
    assert not (root / FILE).exists()
    activate(tmp_path, root, version="2", metrics={"test_auc": 0.9999}, gate={"budget": 0.0, "rule": "value"})
    with pytest.raises(GateRefused, match="over the budget"):
        ready(root, told)


def test_a_limit_on_sensitivity_holds_for_the_site_s_own_threshold_too(tmp_path: Path, told: Evidence) -> None:
    promise = {"test_auc": 0.9, "test_sensitivity": 0.95}
    root, _ = site(tmp_path, metrics=promise, gate={"budget": 0.1, "rule": "value", "max_sensitivity_drop": 0.02})
    with pytest.raises(GateRefused, match="sensitivity on the samples"):
        ready(root, told, Target("given", 0.62))


def test_a_bundle_that_changed_meanwhile_is_not_set(root: Path, told: Evidence, tmp_path: Path) -> None:
    prepared = ready(root, told)
    activate(tmp_path, root, version="2", network=model(0.99))
    with pytest.raises(InputOutputError, match="another bundle is active now"):
        set_local(prepared, prepared.value)
    assert not (root / FILE).exists()


def test_to_clear_goes_back_and_is_recorded(root: Path, told: Evidence) -> None:
    put(root, told)
    assert clear_local(root, by="amina") is not None
    assert point_of(open_any(root)).name == "youden"
    assert [json.loads(line)["action"] for line in (root / AUDIT).read_text().splitlines()] == [
        "threshold set", "threshold clear",
    ]  # fmt: skip
    with pytest.raises(DataError, match="in force already"):
        clear_local(root)


@pytest.mark.parametrize("content", ["", "{}x", '{"points": [{"bundle": 1}]}', '{"schema_version": 2}'])
def test_a_damaged_file_stops_the_scanner_and_clear_is_the_way_out(root: Path, tmp_path: Path, content: str) -> None:
    (root / FILE).write_text(content)
    (tmp_path / "inbox").mkdir()
    with (
        pytest.raises(InputOutputError, match="cannot be read") as caught,
        serve(tmp_path / "inbox", root, tmp_path / "out"),
    ):
        pass
    assert not isinstance(caught.value, BundleError), "that would leave the slot for the one before it"
    assert caught.value.next_step is not None and "threshold clear" in caught.value.next_step
    assert any("cannot be read" in problem for problem in device_status(root).problems)
    assert clear_local(root) is None
    assert point_of(open_any(root)).name == "youden"


def test_a_link_in_its_place_is_not_followed(root: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere.json").write_text('{"points": []}')
    (root / FILE).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(GateRefused, match="symbolic link"):
        point_of(open_any(root))


def test_a_running_scanner_is_complained_of_when_the_threshold_changes(
    root: Path, told: Evidence, tmp_path: Path
) -> None:
    inbox, out = tmp_path / "inbox", tmp_path / "out"
    inbox.mkdir()
    png(inbox / "a.png", bright=True)
    heartbeat = Heartbeat(out)
    options = replace(OPTIONS, settle=0.05, workers=1, sinks=lambda bundle, out: [heartbeat])
    with serve(inbox, root, out, options=options, tell=pytest.fail) as scanner:
        scanner.on_beat = lambda: heartbeat.beat(scanner)
        scanner.run_once()
        state = read_heartbeat(out)
        assert (state["origin"], state["threshold"], complaints(state)) == ("bundle", {"bright": 0.5}, [])
        put(root, told)
        assert any("restart it" in said for said in complaints(read_heartbeat(out)))
        clear_local(root)
        assert complaints(read_heartbeat(out)) == []


def test_a_bundle_file_has_no_threshold_of_a_site(tmp_path: Path, told: Evidence) -> None:
    _, bundle = site(tmp_path)
    with pytest.raises(UsageError, match="no device's folder"):
        ready(bundle.path, told)


def test_of_several_findings_each_has_its_own_and_keeps_it(tmp_path: Path, table: Path) -> None:
    own = OperatingPoint(name="youden", threshold={"dark": 0.45, "bright": 0.55})
    root, _ = site(tmp_path, task="multilabel", positive=None, operating_points=[own])
    evidence = Given(data=table).evidence(open_any(root))
    for name, expected in (("dark", {"bright"}), ("bright", set())):
        prepared = prepare(root, lambda bundle: evidence, name, AT_90)
        set_local(prepared, prepared.value)
        point = point_of(open_any(root))
        kept = {one for one in ("dark", "bright") if point.threshold[one] == own.threshold[one]}
        assert kept == expected and point.threshold[name] == prepared.judged.proposal.threshold
    assert set(read_points(root).points[0].thresholds) == {"dark", "bright"}


def test_a_value_that_was_the_cheapest_is_carried_over_as_what_it_was(
    root: Path, told: Evidence, table: Path, tmp_path: Path
) -> None:
    put(root, told, Target("cost", costs=Costs(test=1, miss=8)))
    activate(tmp_path, root, version="2", network=model(0.99))
    prepared = prepare_carry_over(root, Given(data=table).evidence, None)
    entry = prepared.judged.point.thresholds["bright"]
    assert entry.rule == "cost" and entry.words.startswith("least cost") and entry.carried_from


def test_no_bundle_may_call_its_own_point_local(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="local"):
        site(tmp_path, operating_points=[OperatingPoint(name="local", threshold={"bright": 0.5})])


def test_a_class_that_the_bundle_has_not_is_refused(root: Path, told: Evidence) -> None:
    put(root, told)
    text = (root / FILE).read_text().replace('"bright"', '"green"')
    (root / FILE).write_text(text)
    with pytest.raises(InputOutputError, match="'green' is no class"):
        point_of(open_any(root))


def _results(out: Path) -> list[Result]:
    return [Result.model_validate_json(path.read_text()) for path in (out / "results").glob("*.json")]
