"""Doubt on the device: what is unlike the training images is refused, sets of classes are told, maps are shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from bundles import GOLDEN, MODEL, golden, manifest, model, picture, png, predictor
from doubting import doubting, training
from places import SETTLE, Place

from edgedx.core.bundle.doubt import Doubt
from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import BundleError, UsageError
from edgedx.core.result import Result
from edgedx.core.settings.accept import Accept
from edgedx.core.stats.ood import OodLimits
from edgedx.device.runtime.predict import ClassEvidence, Predictor
from edgedx.device.runtime.run_onnx import OnnxRunner
from edgedx.device.runtime.runner import Output
from edgedx.device.scanner.heatmaps import Heatmaps, require_maps
from edgedx.device.scanner.scanner import Options
from edgedx.device.scanner.sinks import ScannedImage
from edgedx.lab.quantize.cam import add_cam


def scanned(place: Place, **changes: Any) -> dict[str, dict[str, Any]]:
    """Results on a bright, a dark and a medium picture."""
    png(place.inbox / "bright.png", 1, bright=True)
    png(place.inbox / "dark.png", 2, bright=False)
    png(place.inbox / "medium.png", 3)
    place.scan(**changes)
    return place.results()


def test_an_image_unlike_all_others_is_refused_with_its_score_and_without_an_answer(
    tmp_path: Path, place: Place
) -> None:
    place.bundle = doubting(tmp_path / "b.edgedx")
    found = scanned(place)
    assert {name: one["status"] for name, one in found.items()} == {
        "bright.png": "done", "dark.png": "done", "medium.png": "refused"}  # fmt: skip
    refused = found["medium.png"]
    assert refused["reason"]["code"] == "OUT_OF_DISTRIBUTION"
    assert refused["prediction"] is None and refused["prediction_set"] is None
    said = refused["unlikeness"]
    assert said["out_of_distribution"] and said["distance"] > said["distance_limit"] and said["pass_rate"] == 0.99
    inside = found["bright.png"]["unlikeness"]
    assert not inside["out_of_distribution"] and inside["distance"] <= inside["distance_limit"]
    assert found["bright.png"]["prediction_set"] == {
        "classes": ["bright"], "coverage": 0.9, "meaning": "only bright fits at 90 %"}  # fmt: skip


@pytest.mark.parametrize("policy", ["flag", "off"])
def test_the_recipe_may_ask_for_a_flag_or_for_nothing(tmp_path: Path, place: Place, policy: Any) -> None:
    place.bundle = doubting(tmp_path / "b.edgedx", accept=Accept(modality=["CR", "DX"], ood=policy))
    found = scanned(place)["medium.png"]
    assert found["status"] == "done" and found["prediction"] is not None
    assert (found["unlikeness"] or {}).get("out_of_distribution") is (True if policy == "flag" else None)


def test_a_bundle_from_before_says_nothing_of_doubt_and_reads_everything(place: Place) -> None:
    found = scanned(place)
    assert all(one["status"] == "done" and one["unlikeness"] is one["prediction_set"] is None for one in found.values())


def test_a_manifest_written_before_there_was_doubt_still_opens(tmp_path: Path) -> None:
    from edgedx.core.bundle.manifest import BundlePart
    from edgedx.core.files import canonical_json, sha256_bytes

    parts = {MODEL: model(), GOLDEN: golden(model())}
    old = manifest(parts={name: BundlePart(sha256=sha256_bytes(data), bytes=len(data)) for name, data in parts.items()})
    raw = old.model_dump(mode="json")
    del raw["doubt"], raw["accept"]["ood"]
    bundle = Bundle(canonical_json(raw), parts, tmp_path / "old.edgedx")
    assert bundle.manifest.doubt == Doubt() and not predictor(bundle).shows


def test_another_variant_than_was_fitted_is_not_judged_by_foreign_limits(tmp_path: Path) -> None:
    bundle = doubting(tmp_path / "b.edgedx")
    with OnnxRunner(bundle.model()) as runner:
        (answer,) = Predictor(bundle, runner, variant="int8-u8s8").predict_canvases(picture(3, size=16)[None])
    assert answer.unlikeness is None and answer.prediction_set is None


def test_without_features_energy_decides(tmp_path: Path) -> None:
    limits = OodLimits(pass_rate=0.99, images=100, energy=-2.0)
    bundle = doubting(tmp_path / "b.edgedx", doubt=Doubt(ood={"fp32": limits}))
    doubts = predictor(bundle).doubts
    unsure, sure = doubts.unlikeness(Output(np.array([[0.1, 0.2], [5.0, 0.0]], np.float32)))
    assert unsure and unsure.out_of_distribution and unsure.distance is None
    assert sure and not sure.out_of_distribution
    with pytest.raises(FloatingPointError):
        doubts.unlikeness(Output(np.full((1, 2), np.nan, np.float32)))


def test_a_damaged_part_stops_the_start_and_not_an_image(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"part ood\.npz is malformed"):
        predictor(doubting(tmp_path / "b.edgedx", part=b"PK no npz"))


def test_a_limit_whose_part_is_missing_is_refused_at_once(tmp_path: Path) -> None:
    limits = OodLimits(file="other.npz", pass_rate=0.99, images=100, energy=0.0, distance=1.0)
    with pytest.raises(BundleError, match=r"other\.npz"):
        doubting(tmp_path / "b.edgedx", doubt=Doubt(ood={"fp32": limits}))


# Heat maps


def test_each_answered_image_gets_its_picture_beside_the_result(tmp_path: Path, place: Place) -> None:
    place.bundle = doubting(tmp_path / "b.edgedx")
    options = Options(1.0, SETTLE, disk_floor=0, show=True, sinks=lambda bundle, out: [Heatmaps()])
    with place.scanner(options=options) as scanner:
        scanner.predictor.shows = True
        png(place.inbox / "bright.png", 1, bright=True)
        png(place.inbox / "medium.png", 3)
        scanner.run_once()
    pictures = list((place.out / "results").glob("*.png"))
    assert len(pictures) == 1  # the refused one has none
    found = cv2.imread(str(pictures[0]))
    assert found.shape == (544, 512, 3)  # at a size that can be read, and a line below
    assert json.loads(pictures[0].with_suffix(".json").read_text())["source"]["name"] == "bright.png"


def test_a_replayed_result_leaves_the_same_picture_behind(tmp_path: Path, place: Place) -> None:
    place.bundle = doubting(tmp_path / "b.edgedx")
    result = Result.model_validate(scanned(place)["bright.png"])
    shown = ClassEvidence("bright", np.eye(4, dtype=np.float32))
    where = tmp_path / "r.json"
    written = []
    for _ in range(2):
        Heatmaps().publish(ScannedImage(result, picture(1, size=16), shown), where, None)
        written.append(where.with_suffix(".png").read_bytes())
    assert written[0] == written[1] and len(written[0]) > 1000
    for lacking in (ScannedImage(result), ScannedImage(result, picture(1, size=16))):
        Heatmaps().publish(lacking, tmp_path / "none.json", None)  # what was left behind by a scanner that died
    assert not (tmp_path / "none.png").exists()


def test_the_map_shows_what_speaks_for_the_decided_class(tmp_path: Path) -> None:
    bundle = doubting(tmp_path / "b.edgedx")
    half = np.full((16, 16), 255, np.uint8)
    half[:, :4] = 0
    with OnnxRunner(bundle.model()) as runner:
        (answer,) = Predictor(bundle, runner, show=True).predict_canvases(half[None])
    assert answer.shown is not None and answer.shown.name == answer.prediction.label == "bright"
    evidence = answer.shown.evidence
    assert evidence.shape == (16, 16)
    assert (evidence[:, 4:] > 0).all() and (evidence[:, :4] < 0).all()
    logits = answer.logits.astype(float)
    margin = logits[1] - logits.mean()  # what softmax sees of the class
    assert float(evidence.mean()) + 0.5 * (-0.1 - 0.1) == pytest.approx(margin, abs=1e-4)


def test_asking_a_bundle_without_maps_for_them_says_why(tmp_path: Path) -> None:
    doubt = Doubt(missing={"cam": "fp32: the classifier reads HardSwish"})
    with pytest.raises(UsageError, match="HardSwish"):
        require_maps(predictor(doubting(tmp_path / "b.edgedx", doubt=doubt)))


def test_a_model_with_the_map_and_without_features_is_read_by_name(tmp_path: Path) -> None:
    images, _ = training()
    opened = onnx.load_from_string(add_cam(model(), images[:4]))
    del opened.graph.output[1]
    with OnnxRunner(opened.SerializeToString()) as runner:
        found = runner.infer(images[:2], cam=True)
    assert found.features is None and found.cam is not None and found.cam.shape == (2, 2, 16, 16)
