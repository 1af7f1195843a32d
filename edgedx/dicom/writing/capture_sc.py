"""Result to a DICOM Secondary Capture in colour, by highdicom: the picture of `capture_picture`, in the same study."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from edgedx.core.heatmap import BURNED_IN
from edgedx.core.result import Result

from .derived import algorithm, finish, require_highdicom
from .uids import object_uid, series_uid

SERIES_NUMBER = 9902


def capture_uid(result: Result) -> str:
    """SOP Instance UID."""
    return object_uid(result.key, "sc")


def build_capture(result: Result, source: Dataset, picture: NDArray[np.uint8]) -> bytes:
    """The picture of one result as a DICOM file, uncompressed: every archive takes that.

    Parameters
    ----------
    source : Dataset
        From `source_header.read_source`.
    picture : ndarray of shape (H, W, 3), uint8
        RGB.

    Raises
    ------
    DependencyMissing
        highdicom is not installed.
    """
    require_highdicom()
    from highdicom.sc import SCImage
    from highdicom.sr import CodedConcept

    name, version = algorithm(result)
    made = SCImage(
        pixel_array=np.ascontiguousarray(picture),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # asked for by highdicom; emptied below
        study_instance_uid=source.StudyInstanceUID,
        series_instance_uid=series_uid(source.StudyInstanceUID, result.runtime.bundle, "sc"),
        series_number=SERIES_NUMBER,
        sop_instance_uid=capture_uid(result),
        instance_number=max(1, result.sequence),
        manufacturer="edgedx",
        manufacturer_model_name=f"{name} {version}"[:64],
        software_versions=result.runtime.edgedx,
        device_serial_number=result.runtime.bundle,
        series_description=f"AI picture - {BURNED_IN.removeprefix('AI - ')}",
        specific_character_set="ISO_IR 192",
        patient_id=source.PatientID,
        patient_name=source.PatientName or None,
        patient_birth_date=source.PatientBirthDate,
        patient_sex=source.PatientSex,
        accession_number=source.AccessionNumber,
        study_id=source.StudyID,
        study_date=source.StudyDate or None,
        study_time=source.StudyTime or None,
        referring_physician_name=source.ReferringPhysicianName or None,
    )
    made.PatientOrientation = []  # the picture has text below the image, and the image may lie in any way
    made.Laterality = ""  # of the series, which may hold both sides
    made.ConversionType = "WSD"
    made.DerivationDescription = f"As {name} {version} saw it, with what it answered. {BURNED_IN}"
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    if result.frame is not None:
        reference.ReferencedFrameNumber = result.frame  # PS3.3 table 10-3
    purpose = CodedConcept("121322", "DCM", "Source image for image processing operation")
    reference.PurposeOfReferenceCodeSequence = [purpose]
    made.SourceImageSequence = [reference]
    # What was burned into the image is still to be seen; what nobody knew of it nobody knows now.
    for keyword in ("BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio",
                    "LossyImageCompressionMethod"):  # fmt: skip
        if keyword in source:
            made[keyword] = source[keyword]
    return finish(made, result)
