"""Array to DICOM: a minimal writer of complete CR, DX and Secondary Capture objects, used by the phantom and the demo.

Every type 1 and type 2 attribute of the IOD is there (PS3.3 A.2, A.26, A.8); the preamble is zero; the same call
gives the same bytes, UIDs included.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid

from edgedx.core.files import write_bytes

Kind = Literal["CR", "DX", "SC"]

_CLASSES: dict[Kind, tuple[str, str]] = {
    "CR": ("1.2.840.10008.5.1.4.1.1.1", "CR"),
    "DX": ("1.2.840.10008.5.1.4.1.1.1.1", "DX"),  # For Presentation
    "SC": ("1.2.840.10008.5.1.4.1.1.7", "OT"),
}
# Fixed, so that the bytes of a file depend on its content alone.
_DATE, _TIME = "20200101", "120000"
_IMPLEMENTATION_UID = generate_uid(entropy_srcs=["edgedx", "implementation", "1"])
_IMPLEMENTATION_NAME = "EDGEDX_1"
_CHEST = ("51185008", "SCT", "Chest")


@dataclass(frozen=True)
class PatientFacts:
    """Who is on the image, as written to the Patient and Patient Study modules.

    Attributes
    ----------
    patient_id, name : str
        (0010,0020) and (0010,0010).
    sex : str
        ``M``, ``F``, ``O`` or empty.
    age_years : int, optional
        0 to 999.
    """

    patient_id: str = "ANONYMOUS"
    name: str = "ANONYMOUS"
    sex: str = ""
    age_years: int | None = None


def write_dicom(
    path: Path | str,
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    *,
    kind: Kind = "CR",
    subject: PatientFacts | None = None,
    photometric: str | None = None,
    bits_stored: int | None = None,
    window: tuple[float, float] | None = None,
    body_part: str = "CHEST",
    view: str = "",
    comments: str = "",
    instance_number: int = 1,
) -> str:
    """Write one uncompressed single-frame DICOM file durably.

    Parameters
    ----------
    path : path
    pixels : ndarray of shape (H, W), or (H, W, 3) RGB for ``SC``; uint8 or uint16
    kind : str
        ``CR`` Computed Radiography, ``DX`` Digital X-Ray for presentation, ``SC`` Secondary Capture.
    subject : PatientFacts, optional
    photometric : str, optional
        ``MONOCHROME1`` or ``MONOCHROME2`` (the default); colour is always ``RGB``.
    bits_stored : int, optional
        Default: all bits of the dtype.
    window : (center, width), optional
        In stored values. DX needs one: the full range when not given.
    body_part, view : str
        (0018,0015), (0018,5101).
    comments : str
        (0020,4000).
    instance_number : int
        Distinguishes images of one subject; part of what the UIDs are made from.

    Returns
    -------
    str
        The SOP Instance UID, which depends on the content and the arguments alone.

    Raises
    ------
    ValueError
        Shape, dtype or bits that the object cannot hold.
    StorageError
        The disk is full or cannot be written.
    """
    subject = subject or PatientFacts()
    colour = pixels.ndim == 3
    photometric = "RGB" if colour else photometric or "MONOCHROME2"
    bits = bits_stored or pixels.dtype.itemsize * 8
    _check(pixels, kind, photometric, bits)

    ds = Dataset()
    ds.SOPClassUID, ds.Modality = _CLASSES[kind]
    _identify(ds, pixels, subject, (kind, photometric, bits, window, body_part, view, comments, instance_number))
    ds.InstanceNumber = instance_number
    ds.BodyPartExamined, ds.ViewPosition = body_part, view
    if comments:
        ds.ImageComments = comments
    if kind == "DX" and window is None:
        window = (2 ** (bits - 1), 2**bits)
    _pixel_module(ds, pixels, photometric, bits, window)
    if kind == "DX":
        _dx_modules(ds, photometric)
    elif kind == "SC":
        ds.ConversionType = "SYN"
    write_bytes(path, encode(ds))
    return str(ds.SOPInstanceUID)


def _check(pixels: NDArray[Any], kind: Kind, photometric: str, bits: int) -> None:
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"pixels: expected uint8 or uint16, got {pixels.dtype}")
    if pixels.ndim == 3 and (kind != "SC" or pixels.shape[2] != 3):
        raise ValueError("pixels: colour is (H, W, 3) and of kind SC")
    if pixels.ndim not in (2, 3) or not pixels.size or max(pixels.shape) > 65535:
        raise ValueError(f"pixels: shape {pixels.shape} does not fit an image")
    if photometric not in (("RGB",) if pixels.ndim == 3 else ("MONOCHROME1", "MONOCHROME2")):
        raise ValueError(f"photometric: {photometric}")
    if not 1 <= bits <= pixels.dtype.itemsize * 8 or int(pixels.max()) >= 2**bits:
        raise ValueError(f"bits_stored: {bits} does not hold the pixels")


def _identify(ds: Dataset, pixels: NDArray[Any], subject: PatientFacts, arguments: tuple[Any, ...]) -> None:
    """SOP Common, Patient, General Study, Series, Image and Equipment modules (PS3.3 C.12.1, C.7)."""
    digest = hashlib.sha256(repr((pixels.shape, pixels.dtype.str, subject, arguments)).encode())
    digest.update(np.ascontiguousarray(pixels).tobytes())
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPInstanceUID = _uid("instance", digest.hexdigest())
    ds.StudyInstanceUID = _uid("study", repr(subject))
    ds.SeriesInstanceUID = _uid("series", repr(subject), ds.Modality)
    ds.PatientName, ds.PatientID = subject.name, subject.patient_id
    ds.PatientSex, ds.PatientBirthDate = subject.sex, ""
    if subject.age_years is not None:
        ds.PatientAge = f"{subject.age_years:03d}Y"
    ds.StudyDate = ds.ContentDate = _DATE
    ds.StudyTime = ds.ContentTime = _TIME
    ds.ReferringPhysicianName = ds.StudyID = ds.AccessionNumber = ""
    ds.SeriesNumber = 1
    ds.Laterality = ds.PatientOrientation = ""
    ds.Manufacturer = "edgedx"
    ds.ImageType = ["DERIVED", "PRIMARY"]
    ds.BurnedInAnnotation = "NO"


def _pixel_module(
    ds: Dataset, pixels: NDArray[Any], photometric: str, bits: int, window: tuple[float, float] | None
) -> None:
    """Image Pixel (C.7.6.3) and VOI LUT (C.11.2) modules."""
    ds.SamplesPerPixel = 1 if pixels.ndim == 2 else 3
    ds.PhotometricInterpretation = photometric
    if pixels.ndim == 3:
        ds.PlanarConfiguration = 0
    ds.Rows, ds.Columns = pixels.shape[:2]
    ds.BitsAllocated = pixels.dtype.itemsize * 8
    ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits - 1, 0
    if window is not None and pixels.ndim == 2:
        ds.WindowCenter, ds.WindowWidth = (f"{value:g}" for value in window)
    data = np.ascontiguousarray(pixels.astype(pixels.dtype.newbyteorder("<"))).tobytes()
    ds.PixelData = data + b"\x00" * (len(data) % 2)
    ds["PixelData"].VR = "OW" if ds.BitsAllocated == 16 else "OB"


def _dx_modules(ds: Dataset, photometric: str) -> None:
    """DX Series, Anatomy, Image and Detector, and Acquisition Context (C.8.11.1 to C.8.11.4, C.7.6.14)."""
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = _CHEST
    ds.AnatomicRegionSequence = [region] if ds.BodyPartExamined == "CHEST" else []
    ds.PresentationIntentType, ds.ImageLaterality = "FOR PRESENTATION", "U"
    ds.PixelIntensityRelationship, ds.PixelIntensityRelationshipSign = "LOG", -1
    ds.RescaleIntercept, ds.RescaleSlope, ds.RescaleType = "0", "1", "US"
    ds.PresentationLUTShape = "INVERSE" if photometric == "MONOCHROME1" else "IDENTITY"
    ds.PatientOrientation = ["L", "F"]
    ds.LossyImageCompression, ds.DetectorType = "00", ""
    ds.ImagerPixelSpacing = ["1", "1"]
    ds.AcquisitionContextSequence = []


def encode(ds: Dataset) -> bytes:
    """A data set as a Part 10 file of ours, Explicit VR Little Endian: new file meta, zero preamble."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = ds.SOPClassUID, ds.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID, meta.ImplementationVersionName = _IMPLEMENTATION_UID, _IMPLEMENTATION_NAME
    ds.file_meta = meta
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True)
    return buffer.getvalue()


def _uid(*parts: str) -> UID:
    return generate_uid(entropy_srcs=["edgedx", *parts])
