"""Multi-frame objects: a cine loop, a tomosynthesis, an angiogram; uncompressed, RLE, JPEG or JPEG 2000."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import imagecodecs
import numpy as np
import pydicom
from bundles import picture
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from edgedx.core.settings.accept import Accept
from edgedx.dicom.writing.make import PatientFacts, write_dicom

Packing = Literal["native", "rle", "jpeg", "jpeg2000"]
CLASSES = {
    "US": "1.2.840.10008.5.1.4.1.1.3.1",
    "MG": "1.2.840.10008.5.1.4.1.1.13.1.3",
    "XA": "1.2.840.10008.5.1.4.1.1.12.1",
}
EACH = Accept(modality=["US", "MG", "XA", "CR"], multi_frame="each")


def loop(*bright: bool) -> list[NDArray[np.uint8]]:
    """Frames, dark or bright."""
    return [picture(300 + index, bright=one) for index, one in enumerate(bright)]


def dataset_of(path: Path, frames: Sequence[NDArray[np.uint8]], *, modality: str = "US") -> Dataset:
    """The object, uncompressed."""
    write_dicom(path, frames[0], subject=PatientFacts(patient_id="7"))
    ds = pydicom.dcmread(path)
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = CLASSES[modality]
    ds.Modality, ds.NumberOfFrames = modality, len(frames)
    ds.PixelData = np.stack(frames).tobytes()
    if modality == "MG":
        side = Dataset()
        side.FrameLaterality = "L"
        group = Dataset()
        group.FrameAnatomySequence = [side]
        ds.PerFrameFunctionalGroupsSequence = [group] * len(frames)
    return ds


def write_loop(
    path: Path, frames: Sequence[NDArray[np.uint8]], *, modality: str = "US", packing: Packing = "native"
) -> Path:
    """Write an object of several frames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds = dataset_of(path, frames, modality=modality)
    if packing == "rle":
        ds.compress(RLELossless)
    elif packing != "native":
        syntax = JPEGBaseline8Bit if packing == "jpeg" else JPEG2000Lossless
        ds.file_meta.TransferSyntaxUID = syntax
        ds.PixelData = encapsulate([packed(frame, packing) for frame in frames])
    ds.save_as(path)
    return path


def packed(frame: NDArray[np.uint8], packing: Packing) -> bytes:
    """One compressed frame."""
    if packing == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(frame, level=95))
    return bytes(imagecodecs.jpeg2k_encode(frame, codecformat="J2K", reversible=True, level=0))
