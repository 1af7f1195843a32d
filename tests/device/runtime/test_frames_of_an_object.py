"""Doubt about frames, findings in different frames, and answers that are no numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import GOLDEN, MODEL, SPEC, golden, manifest, model, picture, predictor
from cine import EACH, loop, write_loop
from doubting import doubting
from places import Place

from edgedx.core.bundle.manifest import write_bundle
from edgedx.core.errors import BundleError
from edgedx.core.stats.points import OperatingPoint
from edgedx.device.decode.decoder import Decoder
from edgedx.device.runtime.frames import answer_frames
from edgedx.device.runtime.predict import Predictor
from edgedx.device.runtime.runner import Output
from edgedx.device.scanner.heatmaps import Heatmaps
from edgedx.device.scanner.scanner import Options


def scanned(folder: Path, ood: str) -> dict[str, Any]:
    """A bright frame, a medium one as the model never saw, and a dark one."""
    bundle = doubting(folder / "doubting.edgedx", accept=EACH.model_copy(update={"ood": ood}))
    place = Place(folder, bundle, Decoder(SPEC, frames="each"))
    frames = [picture(1, bright=True), picture(2, bright=False) // 4 + 120, picture(3, bright=False)]
    write_loop(place.inbox / "a.dcm", frames)
    place.scan()
    return place.results()["a.dcm"]


def test_one_frame_unlike_the_training_images_refuses_the_object_and_is_named(tmp_path: Path) -> None:
    found = scanned(tmp_path, "refuse")
    assert (found["status"], found["reason"]["code"], found["frame"]) == ("refused", "OUT_OF_DISTRIBUTION", 2)
    assert "frame 2 of 3" in found["reason"]["message"]
    assert found["prediction"] is None and found["frame_rule"] is None
    assert [one["unlikeness"]["out_of_distribution"] for one in found["frames"]] == [False, True, False]
    assert all(one["label"] is None and one["probabilities"] == {} for one in found["frames"])


def test_flagged_it_is_answered_and_the_flag_of_any_frame_is_the_object_s(tmp_path: Path) -> None:
    found = scanned(tmp_path, "flag")
    assert (found["status"], found["frame"], found["prediction"]["label"]) == ("done", 1, "bright")
    assert found["unlikeness"] == found["frames"][1]["unlikeness"]
    assert found["unlikeness"]["out_of_distribution"] is True
    assert found["prediction_set"] is None, "what it promises is of one image, not of the most suspicious of many"
    assert [one["prediction_set"] for one in found["frames"]][0] == ["bright"]


def test_not_looked_for_nothing_is_said_of_it(tmp_path: Path) -> None:
    found = scanned(tmp_path, "off")
    assert found["status"] == "done" and found["unlikeness"] is None


class Findings:
    """Answers each frame by its first pixel."""

    provider = "made up"

    def __init__(self, logits: list[list[float]]) -> None:
        self._logits, self.asked = np.array(logits, np.float32), 0

    def infer(self, batch: Any) -> Output:
        begin, self.asked = self.asked, self.asked + len(batch)
        return Output(self._logits[begin : self.asked])


def _several(tmp_path: Path, logits: list[list[float]]) -> Any:
    classes = ["effusion", "nodule", "mass"]
    point = OperatingPoint(name="youden", threshold=dict.fromkeys(classes, 0.5))
    bundle = doubting(tmp_path / "d.edgedx")
    predicting = Predictor(bundle, Findings(logits))  # type: ignore[arg-type]
    predicting.manifest = manifest(task="multilabel", classes=classes, positive=None, operating_points=[point])
    predicting.point = point
    predicting.doubts._limits = predicting.doubts._sets = None
    return answer_frames(predicting, [np.zeros(SPEC.size, np.uint8)] * len(logits), [{}] * len(logits))


def test_findings_of_different_frames_are_all_found(tmp_path: Path) -> None:
    logits = [[-5.0, -5, -5]] * 9 + [[3.0, -2, -3], [-5, 1, -1], [-4, -4, -4]]
    found = _several(tmp_path, logits)
    assert found.answer.prediction.label == "effusion|nodule" and len(found.frames) == 12
    assert found.by_finding == {"effusion": 9, "nodule": 10, "mass": 10} and found.place == 9
    assert found.frames[9].label == "effusion" and found.frames[10].label == "nodule"
    assert found.answer.prediction.probabilities["nodule"] == found.frames[10].probabilities["nodule"]
    assert "each finding" in found.rule


def test_an_answer_that_is_no_number_is_an_answer_for_no_frame(tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match="frames 9 to 10"):
        _several(tmp_path, [[0.0, 0, 0]] * 9 + [[float("nan"), 0, 0]])


def test_a_bundle_of_many_classes_cannot_ask_for_each_frame(tmp_path: Path) -> None:
    made = manifest(task="multiclass", positive=None, accept=EACH)
    with pytest.raises(BundleError, match="multi_frame"):
        write_bundle(tmp_path / "a.edgedx", made, {MODEL: model(), GOLDEN: golden(model())})


def test_the_heat_map_is_of_the_frame_that_decides(tmp_path: Path) -> None:
    bundle = doubting(tmp_path / "doubting.edgedx", accept=EACH.model_copy(update={"ood": "off"}))
    place = Place(tmp_path, bundle, Decoder(SPEC, frames="each"))
    write_loop(place.inbox / "a.dcm", loop(False, True))
    write_loop(place.inbox / "b.dcm", loop(True, False)[:1])
    shows = Predictor(bundle, predictor(bundle).runner, show=True)
    options = Options(interval=1.0, settle=2.0, disk_floor=0, sinks=lambda bundle, out: [Heatmaps()])
    with place.scanner(options=options) as scanner:
        object.__setattr__(scanner._work.examiner, "predictor", shows)
        scanner.run_once()
    assert place.results()["a.dcm"]["frame"] == 2 and len(list((place.out / "results").glob("*.png"))) == 2
