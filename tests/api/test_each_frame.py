"""`Model.predict` and `edgedx predict` on objects of several frames: what the scanner would say."""

from __future__ import annotations

import json
from pathlib import Path

import bundles
import pytest
from cine import EACH, loop, write_loop
from inprocess import edgedx as command
from places import Place

import edgedx
from edgedx.core.errors import ImageError, RecipeError
from edgedx.core.settings.recipe import load_recipe
from edgedx.device.decode.decoder import Decoder
from edgedx.dicom.reading.open import open_image


@pytest.mark.parametrize("packing", ["native", "rle", "jpeg"])
def test_an_object_is_answered_as_a_scanner_answers_it(tmp_path: Path, packing: str) -> None:
    bundle = bundles.write_tiny(tmp_path / "tiny.edgedx", accept=EACH)
    place = Place(tmp_path, bundle, Decoder(bundles.SPEC, frames="each"))
    path = write_loop(place.inbox / "a.dcm", loop(*[False] * 20, True, *[False] * 20), packing=packing)  # type: ignore[arg-type]
    place.scan()
    scanned = place.results()["a.dcm"]
    with edgedx.open_model(tmp_path / "tiny.edgedx") as model:
        one, other = model.predict([path, bundles.png(tmp_path / "b.png", 1)])
    assert (one.status, one.label, one.frame) == ("done", "bright", 21) and len(one.frames) == 41
    assert one.frame == scanned["frame"] and one.frame_rule == scanned["frame_rule"]
    assert one.probabilities == pytest.approx(scanned["prediction"]["probabilities"], abs=1e-6)
    for found, told in zip(one.to_dict()["frames"], scanned["frames"], strict=True):
        assert (found["frame"], found["label"]) == (told["frame"], told["label"])
        assert found["probabilities"] == pytest.approx(told["probabilities"], abs=1e-6)
    assert other.frame is None and not other.frames and "frame" not in other.to_dict()
    assert one.canvas is not None and one.canvas.mean() > 200 and one.frames[0].canvas is None


def test_the_command_tells_the_frame_and_the_rule(tmp_path: Path) -> None:
    bundles.write_tiny(tmp_path / "tiny.edgedx", accept=EACH)
    write_loop(tmp_path / "a.dcm", loop(False, True, False))
    said = command(tmp_path, "predict", "a.dcm", "--bundle", "tiny.edgedx")
    assert said.returncode == 0 and "frame 2" in " ".join(said.stdout.split())
    (found,) = json.loads(command(tmp_path, "predict", "a.dcm", "--bundle", "tiny.edgedx", "--json").stdout)[
        "predictions"
    ]
    assert found["frame"] == 2 and [one["frame"] for one in found["frames"]] == [1, 2, 3]


def test_what_is_not_read_whole_is_not_answered(tmp_path: Path) -> None:
    bundles.write_tiny(tmp_path / "tiny.edgedx", accept=EACH.model_copy(update={"max_saturated": 0.5}))
    frames = loop(True, False, True)
    path = write_loop(tmp_path / "cut.dcm", frames)
    path.write_bytes(path.read_bytes()[:-30])
    blank = [frame.copy() for frame in frames]
    blank[2][:] = 7
    black = [frame.copy() for frame in frames]
    black[1][2:] = 0
    images = [path, write_loop(tmp_path / "blank.dcm", blank), write_loop(tmp_path / "black.dcm", black)]
    images.append(write_loop(tmp_path / "many.dcm", frames[:1] * 301))
    with edgedx.open_model(tmp_path / "tiny.edgedx") as model:
        found = model.predict(images)
    assert [one.status for one in found] == ["unreadable", "unreadable", "refused", "unreadable"]
    assert [one.reason.split(":")[0] for one in found] == ["TRUNCATED", "BLANK", "SATURATED", "TOO_MANY_FRAMES"]
    assert "frame 3 of 3" in found[1].reason and "frame 2 of 3" in found[2].reason
    assert not any(one.frames or one.probabilities for one in found)


def test_who_asks_for_one_image_as_training_does_is_told_to_label_frames(tmp_path: Path) -> None:
    path = write_loop(tmp_path / "a.dcm", loop(False, True))
    with pytest.raises(ImageError, match="where one image is asked for") as caught:
        open_image(path, frames="each")
    assert caught.value.code == "MULTI_FRAME" and "single images" in str(caught.value.next_step)
    assert open_image(write_loop(tmp_path / "b.dcm", loop(True)), frames="each").image.pixels.shape == (24, 24)


def test_a_recipe_of_many_classes_cannot_ask_for_each_frame() -> None:
    asked = ["accept.multi_frame=each"]
    assert load_recipe("phantom", asked).accept.multi_frame == "each"
    with pytest.raises(RecipeError, match="multi_frame"):
        load_recipe("phantom", [*asked, "task.kind=multiclass", "task.positive=null", "task.classes=[a, b, c]"])
