"""Every frame of an object is answered, one decides, and what cannot be read whole is not answered at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from bundles import SPEC, dicom, picture, png, predictor, write_tiny
from cine import EACH, Packing, dataset_of, loop, packed, write_loop
from places import OPTIONS, Place
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless
from samples import packaged

from edgedx.core.image import Image
from edgedx.core.result import Result
from edgedx.device.decode.decoder import Decoder
from edgedx.device.pacs.outputs import DicomOutputs, Wanted
from edgedx.device.pacs.outputs_worker import Maker
from edgedx.dicom.reading.open import open_frames


class Kept:
    """A decoder of each frame that outlives the scanner."""

    def __init__(self) -> None:
        self.decoder = Decoder(SPEC, frames="each")
        self.warm, self.decode = self.decoder.warm, self.decoder.decode

    def close(self) -> None: ...


@pytest.fixture(scope="module")
def each() -> Iterator[Kept]:
    kept = Kept()
    yield kept
    kept.decoder.close()


@pytest.fixture
def place(tmp_path: Path, each: Kept) -> Place:
    return Place(tmp_path, write_tiny(tmp_path / "tiny.edgedx", accept=EACH), each)


@pytest.mark.parametrize("modality", ["US", "MG", "XA"])
@pytest.mark.parametrize("packing", ["native", "rle", "jpeg", "jpeg2000"])
def test_each_frame_has_its_answer_and_the_most_suspicious_decides(
    place: Place, modality: str, packing: Packing
) -> None:
    frames = loop(False, False, True, False, False, False, False, False, False, False)  # more than are asked at once
    path = write_loop(place.inbox / "a.dcm", frames, modality=modality, packing=packing)
    place.scan()
    result = place.results()["a.dcm"]
    assert (result["status"], result["frame"]) == ("done", 3)
    read = [one.image for one in open_frames(path, most=20)]
    alone = predictor(place.bundle)
    for entry, image, frame in zip(result["frames"], read, frames, strict=True):
        (answer,) = alone.predict([image])
        assert entry["probabilities"] == pytest.approx(answer.prediction.probabilities, abs=1e-6)
        assert entry["label"] == answer.prediction.label == ("bright" if frame.mean() > 128 else "dark")
        if packing != "jpeg":  # and not by our own reading
            (answer,) = alone.predict([Image.of_array(frame)])
            assert entry["probabilities"] == pytest.approx(answer.prediction.probabilities, abs=1e-6)
    assert [entry["frame"] for entry in result["frames"]] == list(range(1, 11))
    assert result["prediction"]["label"] == "bright"
    assert result["prediction"]["probabilities"] == result["frames"][2]["probabilities"]
    assert "frame 3" in result["frame_rule"] and "false alarms" in result["frame_rule"]
    assert [row["frame"] for row in place.table()] == ["3"] and list(place.table()[0])[-1] == "result"


def test_an_object_without_a_suspicious_frame_has_the_label_of_the_frame_that_comes_nearest(place: Place) -> None:
    frames = loop(False, False, False)
    frames[1] = np.minimum(frames[1].astype(int) + 40, 255).astype(np.uint8)
    write_loop(place.inbox / "a.dcm", frames)
    place.scan()
    result = place.results()["a.dcm"]
    assert (result["frame"], result["prediction"]["label"]) == (2, "dark")


def test_single_images_beside_it_are_answered_as_ever(place: Place) -> None:
    png(place.inbox / "a.png", 1)
    dicom(place.inbox / "b.dcm", 2)
    write_loop(place.inbox / "c.dcm", loop(True, False))
    write_loop(place.inbox / "d.dcm", loop(True))  # NumberOfFrames 1
    assert place.scan()["done"] == 4
    found = place.results()
    for name in ("a.png", "b.dcm", "d.dcm"):
        assert found[name]["frames"] is None and found[name]["frame"] is None and found[name]["frame_rule"] is None
    assert {row["file"]: row["frame"] for row in place.table()} == {"a.png": "", "b.dcm": "", "c.dcm": "1", "d.dcm": ""}


def _cut_native(place: Path) -> bytes:
    ds = dataset_of(place, loop(True, False, True))
    ds.PixelData = ds.PixelData[: -2 * 24]
    ds.save_as(place)
    return place.read_bytes()


def _too_few_fragments(place: Path) -> bytes:
    write_loop(place, loop(True, False, True), packing="rle")
    ds = pydicom.dcmread(place)
    ds.NumberOfFrames = 5
    ds.save_as(place)
    return place.read_bytes()


def _too_many_fragments(place: Path) -> bytes:
    write_loop(place, loop(True, False, True), packing="jpeg2000")
    ds = pydicom.dcmread(place)
    ds.NumberOfFrames = 2
    ds.save_as(place)
    return place.read_bytes()


def _damaged_last(place: Path) -> bytes:
    frames = loop(True, False, True)
    ds = dataset_of(place, frames)
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    coded = [packed(frame, "jpeg2000") for frame in frames]
    ds.PixelData = encapsulate([*coded[:2], coded[2][:-40]])
    ds.save_as(place)
    return place.read_bytes()


def _other_size_in_the_middle(place: Path) -> bytes:
    frames = loop(True, False, True)
    ds = dataset_of(place, frames)
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    coded = [packed(frame, "jpeg2000") for frame in (frames[0], picture(9, size=20), frames[2])]
    ds.PixelData = encapsulate(coded)
    ds.save_as(place)
    return place.read_bytes()


def _a_group_is_missing(place: Path) -> bytes:
    ds = dataset_of(place, loop(True, False, True), modality="MG")
    ds.PerFrameFunctionalGroupsSequence = ds.PerFrameFunctionalGroupsSequence[:2]
    ds.save_as(place)
    return place.read_bytes()


@pytest.mark.parametrize(
    ("make", "code", "where"),
    [
        (_cut_native, "TRUNCATED", "frame 1 of 3"),
        (_too_few_fragments, "TRUNCATED", "frame 1 of 5"),
        (_too_many_fragments, "BROKEN_HEADER", "frame 1 of 2"),
        (_damaged_last, "TRUNCATED", "frame 3 of 3"),
        (_other_size_in_the_middle, "HEADER_MISMATCH", "frame 2 of 3"),
        (_a_group_is_missing, "BROKEN_HEADER", "frame 3 of 3"),
    ],
)
def test_one_frame_that_cannot_be_read_and_there_is_no_answer(
    place: Place, make: object, code: str, where: str
) -> None:
    make(place.inbox / "a.dcm")  # type: ignore[operator]
    place.scan()
    result = place.results()["a.dcm"]
    assert (result["status"], result["reason"]["code"]) == ("quarantined", code)
    assert where in result["reason"]["message"]
    assert result["prediction"] is None and result["frames"] is None


def test_a_blank_frame_refuses_the_object_and_is_named(place: Place) -> None:
    frames = loop(True, False, True)
    frames[1][:] = 0
    write_loop(place.inbox / "a.dcm", frames)
    place.scan()
    result = place.results()["a.dcm"]
    assert (result["status"], result["reason"]["code"]) == ("refused", "BLANK")
    assert "frame 2 of 3" in result["reason"]["message"] and result["prediction"] is None


def test_more_frames_than_are_answered_are_refused_before_the_first(place: Place) -> None:
    write_loop(place.inbox / "a.dcm", [picture(1)] * 301)
    write_loop(place.inbox / "b.dcm", [picture(2)] * 300)
    place.scan()
    found = place.results()
    assert (found["a.dcm"]["status"], found["a.dcm"]["reason"]["code"]) == ("refused", "TOO_MANY_FRAMES")
    assert "301 frames; at most 300" in found["a.dcm"]["reason"]["message"]
    assert found["b.dcm"]["status"] == "done" and len(found["b.dcm"]["frames"]) == 300


@pytest.mark.parametrize(
    ("name", "frames"),
    [("examples_ybr_color.dcm", 30), ("SC_rgb_rle_2frame.dcm", 2), ("SC_rgb_rle_16bit_2frame.dcm", 2)],
)
def test_real_objects_are_answered_frame_by_frame(tmp_path: Path, each: Kept, name: str, frames: int) -> None:
    accept = EACH.model_copy(update={"modality": [], "max_saturated": 1.0})
    place = Place(tmp_path, write_tiny(tmp_path / "tiny.edgedx", accept=accept), each)
    (place.inbox / "a.dcm").write_bytes(packaged(name).read_bytes())
    place.scan()
    result = place.results()["a.dcm"]
    assert result["status"] == "done" and len(result["frames"]) == frames
    # The other way: pydicom alone decodes, and the brightest frame is found without edgedx's reader.
    values = [entry["probabilities"]["bright"] for entry in result["frames"]]
    assert result["frame"] == int(np.argmax(values)) + 1
    light = pydicom.pixels.pixel_array(packaged(name)).reshape(frames, -1).mean(axis=1)
    assert result["frame"] == int(light.argmax()) + 1


def test_report_and_picture_reference_the_frame_that_decides(place: Place) -> None:
    path = write_loop(place.inbox / "a.dcm", loop(False, True, False), packing="rle")
    uid = pydicom.dcmread(path).SOPInstanceUID
    wanted = Wanted(sr=True, sc=True, disk_floor=0)
    place.scan(options=replace(OPTIONS, sinks=lambda bundle, out: [DicomOutputs(out, wanted)]))
    told: list[str] = []
    Maker(place.out, wanted, tell=told.append).run()
    assert told == []
    made = {one.name.partition("-")[2]: pydicom.dcmread(one) for one in (place.out / "dicom").glob("*.dcm")}
    capture, report = made["sc.dcm"], made["sr.dcm"]
    (reference,) = capture.SourceImageSequence
    assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (uid, 2)
    numbers = [one.ReferencedSOPSequence[0].ReferencedFrameNumber for one in _images(report)]
    assert numbers and set(numbers) == {2}
    texts = [str(one.value) for one in report.iterall() if one.keyword == "TextValue"]
    assert any("frame 2" in text and "false alarms" in text for text in texts)
    assert capture.pixel_array[300:400, 300:340].mean() > 150, "the picture is that of the bright frame"


def _images(item: pydicom.Dataset) -> list[pydicom.Dataset]:
    own = [item] if item.get("ValueType") == "IMAGE" else []
    return own + [one for child in item.get("ContentSequence", []) for one in _images(child)]


@pytest.mark.parametrize(("policy", "number"), [("first", 1), ("middle", 3)])
def test_of_one_frame_that_was_read_the_number_is_told(tmp_path: Path, policy: str, number: int) -> None:
    accept = EACH.model_copy(update={"multi_frame": policy})
    decoder = Decoder(SPEC, frames=policy)  # type: ignore[arg-type]
    place = Place(tmp_path, write_tiny(tmp_path / "tiny.edgedx", accept=accept), decoder)
    write_loop(place.inbox / "a.dcm", loop(False, False, True, False, False))
    place.scan()
    result = place.results()["a.dcm"]
    assert (result["frame"], result["frames"], result["frame_rule"]) == (number, None, None)


@pytest.mark.parametrize(
    "later", [("frame", "threshold", "prediction_set"), ("threshold", "prediction_set")], ids=["first", "second"]
)
def test_a_result_and_a_table_of_before_are_still_read(place: Place, later: tuple[str, ...]) -> None:
    png(place.inbox / "a.png", 1)
    place.scan()
    table, (path,) = place.out / "results.csv", (place.out / "results").glob("*.json")
    rows = [row for row in place.table()]
    columns = [name for name in rows[0] if name not in later]
    table.write_text("\n".join([",".join(columns), ",".join(rows[0][name] for name in columns)]) + "\n")
    old = Result.model_validate_json(path.read_text()).model_dump(mode="json")
    for name in ("frame", "frames", "frame_rule", "frame_by_finding"):
        del old[name]
    assert Result.model_validate(old).frame is None
    png(place.inbox / "b.png", 2)
    place.scan()
    assert [row["frame"] for row in place.table()] == ["", ""]
    assert not list(place.out.glob("results.edited-*.csv")), "an older table is no edited one"
