"""Several frames: which is read, and with whose rescale and window."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, encapsulate_extended, generate_frames, get_frame
from pydicom.pixels import pixel_array
from pydicom.uid import RLELossless
from samples import RAMP, code_of, packaged, saved

from edgedx.core.image import VoiWindow
from edgedx.core.settings.accept import FramePolicy
from edgedx.dicom.reading.frames import choose_frame
from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom


def several(path: Path, frames: int) -> Dataset:
    """The ramp, and brighter copies of it."""
    ds = pydicom.dcmread(path)
    ds.NumberOfFrames = frames
    ds.PixelData = np.stack([RAMP // 2 + 10 * index for index in range(frames)]).astype("<u2").tobytes()
    return ds


@pytest.mark.parametrize(("frames", "middle"), [(1, 0), (2, 1), (3, 1), (10, 5)])
def test_the_middle_is_the_later_of_two(frames: int, middle: int) -> None:
    assert choose_frame(frames, "middle") == middle
    assert choose_frame(frames, "first") == 0


@pytest.mark.parametrize(("policy", "index"), [("first", 0), ("middle", 2)])
def test_the_chosen_frame_is_read_and_named(ramp: Path, policy: Literal["first", "middle"], index: int) -> None:
    data = saved(several(ramp, 4))
    assert code_of(data) == "MULTI_FRAME"
    found = read_dicom(data, frames=policy).image
    np.testing.assert_array_equal(found.pixels, RAMP // 2 + 10 * index)
    assert found.meta["Frame"] == str(index + 1)
    assert "Frame" not in read_dicom(ramp, frames=policy).image.meta


def test_only_the_frame_that_is_read_counts_against_the_budget(ramp: Path) -> None:
    path = packaged("SC_rgb_rle_2frame.dcm")  # 30,000 bytes decoded, each
    assert read_dicom(path, frames="middle", max_decoded_bytes=30_000).image.pixels.shape == (100, 100, 3)
    assert code_of(path, frames="middle", max_decoded_bytes=29_999) == "TOO_LARGE"


def test_frames_that_are_not_in_the_file_are_truncated(ramp: Path) -> None:
    ds = several(ramp, 4)
    ds.PixelData = ds.PixelData[:-2]
    assert code_of(saved(ds), frames="first") == "TRUNCATED"
    coded = pydicom.dcmread(packaged("SC_rgb_rle_2frame.dcm"))
    assert coded.file_meta.TransferSyntaxUID == RLELossless
    coded.PixelData = encapsulate([get_frame(coded.PixelData, 0, number_of_frames=2)])
    assert code_of(saved(coded), frames="middle") in {"TRUNCATED", "DECODE_FAILED"}


def test_frames_are_found_by_an_extended_offset_table() -> None:
    ds = pydicom.dcmread(packaged("SC_rgb_rle_2frame.dcm"))
    expected = read_dicom(saved(ds), frames="middle").image.pixels
    frames = list(generate_frames(ds.PixelData, number_of_frames=2))
    ds.PixelData, ds.ExtendedOffsetTable, ds.ExtendedOffsetTableLengths = encapsulate_extended(frames)
    np.testing.assert_array_equal(read_dicom(saved(ds), frames="middle").image.pixels, expected)
    ds.ExtendedOffsetTable = b"\xff" * 16
    np.testing.assert_array_equal(
        read_dicom(saved(ds), frames="middle").image.pixels, expected
    )  # two frames, two items


def group(**elements: object) -> Dataset:
    """A functional group with the macros that have these elements."""
    macros = {"Rescale": "PixelValueTransformationSequence", "Window": "FrameVOILUTSequence"}
    found = Dataset()
    for prefix, macro in macros.items():
        item = Dataset()
        for keyword, value in elements.items():
            if keyword.startswith(prefix):
                setattr(item, keyword, value)
        if len(item):
            setattr(found, macro, [item])
    return found


@pytest.mark.parametrize("frames", [1, 3])
def test_an_enhanced_object_has_rescale_and_window_in_its_functional_groups(ramp: Path, frames: int) -> None:
    ds = several(ramp, frames)
    ds.SharedFunctionalGroupsSequence = [group(RescaleSlope="2", RescaleIntercept="-1000")]
    ds.PerFrameFunctionalGroupsSequence = [
        group(WindowCenter=str(100 * index), WindowWidth="50") for index in range(frames)
    ]
    found = read_dicom(saved(ds), frames="middle").image
    index = frames // 2
    np.testing.assert_array_equal(found.pixels, (RAMP // 2 + 10 * index).astype(int) * 2 - 1000)
    assert found.voi == VoiWindow(100.0 * index, 50.0)
    assert found.value_range == (-1000, 4095 * 2 - 1000)


def test_a_frame_without_its_functional_group_is_a_broken_header(ramp: Path) -> None:
    ds = several(ramp, 4)
    ds.PerFrameFunctionalGroupsSequence = [group(RescaleSlope="2", RescaleIntercept="0")]
    assert code_of(saved(ds), frames="middle") == "BROKEN_HEADER"


@pytest.mark.parametrize("frames", ["first", "middle"])
def test_breast_tomosynthesis_has_its_side_and_region_in_functional_groups(ramp: Path, frames: FramePolicy) -> None:
    ds = several(ramp, 5)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.13.1.3"
    ds.Modality = "MG"
    del ds.BodyPartExamined
    breast = Dataset()
    breast.CodeValue, breast.CodingSchemeDesignator, breast.CodeMeaning = "76752008", "SCT", "Breast"
    anatomy = Dataset()
    anatomy.AnatomicRegionSequence, anatomy.FrameLaterality = [breast], "L"
    shared = group(RescaleSlope="1", RescaleIntercept="0")
    shared.FrameAnatomySequence = [anatomy]
    ds.SharedFunctionalGroupsSequence = [shared]
    meta = read_dicom(saved(ds), frames=frames).image.meta
    assert (meta["BodyPartExamined"], meta["Laterality"]) == ("BREAST", "L")
    assert meta["Frame"] == ("3" if frames == "middle" else "1")


@pytest.mark.parametrize("name", ["examples_ybr_color.dcm", "SC_rgb_rle_2frame.dcm", "SC_rgb_rle_16bit_2frame.dcm"])
def test_every_frame_of_a_cine_can_be_read_by_its_number(name: str) -> None:
    ds = pydicom.dcmread(packaged(name))
    count = int(ds.NumberOfFrames)
    for index in {0, 1, count // 2, count - 1}:
        found = read_dicom(packaged(name), frame=index).image
        expected = pixel_array(packaged(name), index=index)
        assert found.meta["Frame"] == str(index + 1)
        assert np.abs(found.pixels.astype(int) - expected.astype(int)).max() <= (2 if "ybr" in name else 0)
    assert code_of(packaged(name), frame=count) in {"TRUNCATED", "BROKEN_HEADER"}


@pytest.mark.parametrize(("allocated", "frames"), [(1, 3), (8, 3)])
def test_frames_of_one_bit_do_not_begin_at_a_byte(tmp_path: Path, allocated: int, frames: int) -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (frames, 5, 7)).astype(np.uint8)
    write_dicom(tmp_path / "a.dcm", values[0] * 255)
    ds = pydicom.dcmread(tmp_path / "a.dcm")
    ds.NumberOfFrames, ds.BitsAllocated, ds.BitsStored, ds.HighBit = frames, allocated, 1, 0
    packed = np.packbits(values.ravel(), bitorder="little") if allocated == 1 else values.ravel()
    ds.PixelData = packed.tobytes() + bytes(packed.size % 2)
    for index in range(frames):
        np.testing.assert_array_equal(read_dicom(saved(ds), frame=index).image.pixels, values[index])
