"""What an object made from an image may take over from its header: patient and study, checked value by value.

A header that cannot carry an object of its own is told by a `Unfit` code; its message never repeats a value.
"""

from __future__ import annotations

import re
from enum import Enum
from io import BytesIO

import pydicom
from pydicom import config
from pydicom.dataset import Dataset
from pydicom.valuerep import validate_value

from edgedx.dicom.reading.header import silence_pydicom

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "SOPClassUID")
# Type 2 in both objects: empty where the source has none, or none that is valid.
_PATIENT_AND_STUDY = (
    *("PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
)
_OPTIONAL = (
    *("BurnedInAnnotation", "LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"),
)
_OWN = {"Manufacturer": "edgedx", "ConversionType": "WSD"}  # as `capture_sc` writes them
_NAMES = [*_UIDS, "Modality", "PatientID", *_PATIENT_AND_STUDY, *_OPTIONAL, "SpecificCharacterSet", *_OWN]
_ONE_OF = {"PatientSex": {"M", "F", "O"}, "BurnedInAnnotation": {"YES", "NO"}, "LossyImageCompression": {"00", "01"}}


class Unfit(str, Enum):
    """Why a result has its JSON and no DICOM object. The value is what to do."""

    NO_PATIENT_ID = "the image has no Patient ID: an object could be filed under another patient"
    NO_MODALITY = "the image has no Modality"
    NO_UIDS = "the UIDs of study, series or instance are missing or malformed"
    OWN_OBJECT = "the image is a picture that edgedx made: one of a picture would come back from the PACS for ever"
    BROKEN_HEADER = "the header cannot be read as a whole"
    SOURCE_GONE = "the file is not in the inbox any more, or holds another content"
    NOT_BUILT = "highdicom refused to build the object from this header"
    CRASHED = "the process that builds objects ended three times at this one"
    NO_PICTURE = "the disk was nearly full when the result came: the report was made without its picture"


class UnfitSource(Exception):
    """The header cannot carry an object.

    Attributes
    ----------
    code : Unfit
    """

    def __init__(self, code: Unfit) -> None:
        super().__init__(code.value)
        self.code = code


def read_source(data: bytes) -> Dataset:
    """Patient, study and identity of a DICOM file, with nothing in it that a validator would object to.

    Raises
    ------
    UnfitSource
        ``NO_PATIENT_ID``, ``NO_MODALITY``, ``NO_UIDS``, ``OWN_OBJECT``, ``BROKEN_HEADER``.
    """
    silence_pydicom()
    try:
        raw = pydicom.dcmread(BytesIO(data), specific_tags=_NAMES, stop_before_pixels=True)
        raw.decode()
        return _checked(raw)
    except UnfitSource:
        raise
    except Exception:
        raise UnfitSource(Unfit.BROKEN_HEADER) from None


def _checked(raw: Dataset) -> Dataset:
    if all(str(raw.get(name)) == value for name, value in _OWN.items()):
        raise UnfitSource(Unfit.OWN_OBJECT)
    found = Dataset()
    # One character set for all that we write; the values were decoded above.
    found.SpecificCharacterSet = "ISO_IR 192"
    for name in _UIDS:
        text = str(raw.get(name) or "")
        if not _UID.fullmatch(text) or len(text) > 64:
            raise UnfitSource(Unfit.NO_UIDS)
        setattr(found, name, text)
    for name, code in (("Modality", Unfit.NO_MODALITY), ("PatientID", Unfit.NO_PATIENT_ID)):
        if not _valid(raw, name) or not str(raw[name].value or "").strip():
            raise UnfitSource(code)
        setattr(found, name, raw[name].value)
    for name in _PATIENT_AND_STUDY:
        # As text: a name keeps the character set that it was read in.
        setattr(found, name, str(raw[name].value or "") if _valid(raw, name) else None)
    for name in _OPTIONAL:
        if _valid(raw, name) and raw[name].value not in (None, ""):
            setattr(found, name, raw[name].value)
    return found


def _valid(raw: Dataset, name: str) -> bool:
    if name not in raw:
        return False
    element = raw[name]
    if name in _ONE_OF and element.value and str(element.value) not in _ONE_OF[name]:
        return False
    values = element.value if element.VM > 1 else [element.value]
    if element.VM > 1 and element.VR not in {"DS", "CS"}:
        return False
    try:
        for value in values:
            if element.VR in {"LO", "SH", "PN", "CS", "DA", "TM", "AS", "UI", "IS", "DS"} and value is not None:
                validate_value(element.VR, str(value), config.RAISE)
    except ValueError:
        return False
    return not any(0xDC80 <= ord(letter) <= 0xDCFF or letter == "\ufffd" for letter in str(element.value))
