"""DICOM header: what kind of object the file is, and the few fields that later steps may see.

Everything that pydicom raises becomes `ImageError` **without its cause**: pydicom's messages quote header values.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from edgedx.core.codes import Code
from edgedx.core.settings.accept import CODE_STRING

from .coded_terms import coded_term
from .patient_age import age_at_study
from .refusals import refuse

_META_LIMIT = 1 << 16  # bytes; a real File Meta Information group has a few hundred
_TAGS = [
    *("SOPClassUID", "SOPInstanceUID", "Modality", "BodyPartExamined", "AnatomicRegionSequence"),
    *("ViewPosition", "ViewCodeSequence", "ImageLaterality", "Laterality"),
    *("PatientSex", "PatientAge", "PatientBirthDate", "StudyDate"),
    *("PresentationIntentType", "BurnedInAnnotation", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RedPaletteColorLookupTableDescriptor"),
    *("RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData"),
    *("PixelData", "FloatPixelData", "DoubleFloatPixelData", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
]
_META_KEYS = ("Modality", "PatientSex", "PresentationIntentType")
# DX, mammography and intra-oral: these SOP classes say it too (PS3.4 B.5).
_FOR_PROCESSING = {f"1.2.840.10008.5.1.4.1.1.1.{family}.1" for family in (1, 2, 3)}

_CLASSES: tuple[tuple[str, Code], ...] = (
    ("1.2.840.10008.1.3.10", Code.DICOMDIR),
    ("1.2.840.10008.5.1.4.1.1.88.", Code.REPORT),
    ("1.2.840.10008.5.1.4.1.1.66.4", Code.SEGMENTATION),
    ("1.2.840.10008.5.1.4.1.1.66.5", Code.SEGMENTATION),
    ("1.2.840.10008.5.1.4.1.1.66.7", Code.SEGMENTATION),
    ("1.2.840.10008.5.1.4.1.1.66", Code.PRESENTATION),
    ("1.2.840.10008.5.1.4.1.1.11.", Code.PRESENTATION),
    ("1.2.840.10008.5.1.4.1.1.67", Code.PRESENTATION),
    ("1.2.840.10008.5.1.4.1.1.68.", Code.PRESENTATION),
    ("1.2.840.10008.5.1.4.1.1.9.", Code.WAVEFORM),
    ("1.2.840.10008.5.1.4.1.1.104.", Code.DOCUMENT),
    ("1.2.840.10008.5.1.4.34.", Code.RADIOTHERAPY),
)
_RT_IMAGE = "1.2.840.10008.5.1.4.1.1.481.1"  # a portal radiograph: the one radiotherapy class that is an image
_RADIOTHERAPY = "1.2.840.10008.5.1.4.1.1.481."


@dataclass(frozen=True)
class FileMeta:
    """The part of the File Meta Information (PS3.10 7.1) that decides whether and how to read on."""

    transfer_syntax: str
    sop_class_uid: str


def silence_pydicom() -> None:
    """Stop pydicom's log records and warnings: they quote header values, and so may name a patient."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
    warnings.filterwarnings("ignore", module=r"(pydicom|edgedx\.dicom)(\.|$)")


def read_file_meta(data: bytes) -> FileMeta:
    """Parse group 0002 alone, so that a deflated or unknown body is refused before any of it is read.

    Raises
    ------
    ImageError
        ``NOT_DICOM``, ``BROKEN_HEADER``.
    """
    if data[128:132] != b"DICM":
        raise refuse(Code.NOT_DICOM, "no DICM prefix at byte 128", next_step="export the file as DICOM Part 10")
    try:
        stream = BytesIO(data[132 : 132 + _META_LIMIT])
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        syntax, sop_class = meta.get("TransferSyntaxUID"), meta.get("MediaStorageSOPClassUID")
    except Exception as error:
        raise _broken(error, "the file meta information") from None
    if not isinstance(syntax, UID) or not syntax:
        raise refuse(Code.BROKEN_HEADER, "no transfer syntax UID (0002,0010) in the file meta information")
    return FileMeta(str(syntax), str(sop_class or ""))


def read_header(data: bytes, meta: FileMeta) -> Dataset:
    """Parse the data set, keeping only the elements that reading an image needs; names are never loaded.

    Raises
    ------
    ImageError
        ``DEFLATED``, ``BROKEN_HEADER``, ``TOO_LARGE`` (out of memory).
    """
    if meta.transfer_syntax == DeflatedExplicitVRLittleEndian:
        raise refuse(
            Code.DEFLATED,
            f"transfer syntax {meta.transfer_syntax} is deflated: a few bytes may inflate to any size",
            next_step="store the image uncompressed or lossless, e.g. with dcmconv +te",
        )
    try:
        return pydicom.dcmread(BytesIO(data), specific_tags=list(_TAGS), force=False)
    except Exception as error:
        raise _broken(error, "the data set") from None


def check_class(sop_class_uid: str) -> None:
    """Refuse SOP classes that are no images, with a code each (PS3.4 B.5).

    Raises
    ------
    ImageError
        ``DICOMDIR``, ``REPORT``, ``RADIOTHERAPY``, ``SEGMENTATION``, ``PRESENTATION``, ``WAVEFORM``, ``DOCUMENT``.
    """
    if sop_class_uid == _RT_IMAGE:
        return
    for root, code in (*_CLASSES, (_RADIOTHERAPY, Code.RADIOTHERAPY)):
        if sop_class_uid == root or sop_class_uid.startswith(root if root.endswith(".") else root + "."):
            raise refuse(code, code.meaning, next_step="give the image that this object refers to")


def field(dataset: Dataset, keyword: str, kind: type, default: Any = None) -> Any:
    """One header value converted to `kind`; `default` where the element is absent or empty.

    Raises
    ------
    ImageError
        ``BROKEN_HEADER``, naming the element; also when it is absent and there is no default.
    """
    try:
        value = dataset.get(keyword)
        value = None if value is None or value == "" else kind(value)
    except Exception as error:
        raise _broken(error, keyword) from None
    if value is None and default is None:
        raise refuse(Code.BROKEN_HEADER, f"{keyword} is missing from the header")
    return default if value is None else value


def describe(dataset: Dataset) -> dict[str, str]:
    """Fields that refusal rules need, as strings; anything that is not a clean code string is left out.

    Free text is dropped on purpose: sites type names into such fields.

    Returns
    -------
    dict of str
        Modality, PatientSex, PresentationIntentType as they are; BodyPartExamined and ViewPosition, where they are
        absent the terms of the code sequences that stand for them; Laterality of the image, else of the series;
        PatientAgeYears at the time of the study.
    """
    facts = {keyword: text for keyword in _META_KEYS if (text := _code_string(dataset, keyword))}
    if str(dataset.get("SOPClassUID") or "") in _FOR_PROCESSING:
        facts.setdefault("PresentationIntentType", "FOR PROCESSING")
    if part := _code_string(dataset, "BodyPartExamined") or coded_term(dataset, "AnatomicRegionSequence"):
        facts["BodyPartExamined"] = part
    if view := _code_string(dataset, "ViewPosition") or coded_term(dataset, "ViewCodeSequence"):
        facts["ViewPosition"] = view
    if side := _code_string(dataset, "ImageLaterality") or _code_string(dataset, "Laterality"):
        facts["Laterality"] = side
    age = age_at_study(*(_text(dataset, keyword) for keyword in ("PatientAge", "PatientBirthDate", "StudyDate")))
    if age is not None:
        facts["PatientAgeYears"] = f"{age:g}"
    return facts


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:
        return ""


def _code_string(dataset: Dataset, keyword: str) -> str:
    text = _text(dataset, keyword).upper()
    return text if CODE_STRING.fullmatch(text) else ""


def _broken(error: Exception, what: str) -> Exception:
    if isinstance(error, MemoryError):
        return refuse(Code.TOO_LARGE, f"not enough memory to read {what}")
    return refuse(Code.BROKEN_HEADER, f"cannot parse {what} ({type(error).__name__})")
