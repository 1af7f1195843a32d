"""DICOM header: what kind of object the file is, and the few fields that later steps may see.

Everything that pydicom raises becomes `ImageError` **without its cause**: pydicom's messages quote header values.
"""

from __future__ import annotations

import hashlib
import logging
import math
import struct
import warnings
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset, read_partial
from pydicom.multival import MultiValue
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from edgedx.core.codes import Code
from edgedx.core.image import EXPOSURE, MACHINE, WINDOW_WIDTH
from edgedx.core.settings.accept import CODE_STRING, UNREADABLE_FIELDS, HeaderField
from edgedx.dicom.decoding.refusals import refuse

from .coded_terms import UNREADABLE, coded_term
from .patient_age import AgeUnreadable, age_at_study

_META_LIMIT = 1 << 16  # bytes; a real File Meta Information group has a few hundred
_KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "Modality", "BodyPartExamined", "AnatomicRegionSequence"),
    *("ViewPosition", "ViewCodeSequence", "ImageLaterality", "Laterality"),
    *("PatientSex", "PatientAge", "PatientBirthDate", "StudyDate"),
    *("PresentationIntentType", "BurnedInAnnotation", "Rows", "Columns", "SamplesPerPixel", "NumberOfFrames"),
    *("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"),
    *("PhotometricInterpretation", "PlanarConfiguration", "BitsAllocated", "BitsStored", "HighBit"),
    *("PixelRepresentation", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence", "VOILUTSequence"),
    *("WindowCenter", "WindowWidth", "VOILUTFunction", "RedPaletteColorLookupTableDescriptor"),
    *("RedPaletteColorLookupTableData", "GreenPaletteColorLookupTableData", "BluePaletteColorLookupTableData"),
    *("PixelPaddingValue", "PixelPaddingRangeLimit", "ExtendedOffsetTable"),
    *("Manufacturer", "ManufacturerModelName", "Exposure", "ExposureInuAs"),
)
_TAGS = [tag for keyword in _KEYWORDS if (tag := tag_for_keyword(keyword)) is not None]
_PIXELS = {0x7FE00008: "FloatPixelData", 0x7FE00009: "DoubleFloatPixelData", 0x7FE00010: "PixelData"}
_UNDEFINED = 0xFFFFFFFF
_TRAILING_PADDING = 0xFFFCFFFC
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


@dataclass(frozen=True)
class PixelElement:
    """Where the pixels are in the file; pydicom does not read them.

    Attributes
    ----------
    keyword : str
        ``PixelData``, ``FloatPixelData`` or ``DoubleFloatPixelData``.
    vr : str
        As the file says, empty with implicit VR.
    start : int
        Offset of the value.
    length : int or None
        None where it is undefined.
    """

    keyword: str
    vr: str
    start: int
    length: int | None


@dataclass(frozen=True)
class Parsed:
    """A data set up to its pixels.

    Attributes
    ----------
    dataset : Dataset
    pixels : PixelElement or None
    cut : bool
        Whether the file ends within an element: pydicom then returns what it has, without a word.
    """

    dataset: Dataset
    pixels: PixelElement | None
    cut: bool


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


def read_header(data: bytes, meta: FileMeta) -> Parsed:
    """Parse the data set up to its pixels, keeping only what reading an image needs; names are never loaded.

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
    stream, pixels, cut = BytesIO(data), None, False

    def at_end(tag: int, vr: str | None, length: int) -> bool:
        nonlocal pixels, cut
        if tag in _PIXELS:
            undefined = length == _UNDEFINED
            pixels = PixelElement(_PIXELS[tag], vr or "", stream.tell(), None if undefined else length)
            return True
        cut = length != _UNDEFINED and stream.tell() + length > len(data) and tag != _TRAILING_PADDING
        return cut

    try:
        dataset = read_partial(stream, at_end, specific_tags=[*_TAGS])
    except (EOFError, struct.error):
        raise refuse(Code.TRUNCATED, "the file ends within its header", next_step="copy the file again") from None
    except Exception as error:
        raise _broken(error, "the data set") from None
    # Without pixels every byte belongs to an element; what is left is a part of one, or of a sequence.
    return Parsed(dataset, pixels, cut or (pixels is None and _is_cut(stream, data)))


def _is_cut(stream: BytesIO, data: bytes) -> bool:
    at = stream.tell()
    return at > len(data) or bool(data[at:].strip(b"\0"))


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
    """Fields that refusal rules need, as strings. What is there and is no clean code string is listed as unreadable.

    Free text is dropped on purpose: sites type names into such fields.

    Returns
    -------
    dict of str
        Modality, PatientSex, PresentationIntentType as they are; BodyPartExamined and ViewPosition, where they are
        absent the terms of the code sequences that stand for them; Laterality of the image, else of the series;
        PatientAgeYears at the time of the study. ``Unreadable`` names the fields of
        `core.settings.accept.HeaderField` that have a value nobody understands, joined by commas.
    """
    facts: dict[str, str] = {}
    unreadable: list[HeaderField] = []

    def keep(keyword: str, text: str | None, name: HeaderField | None = None) -> None:
        if text is None:
            unreadable.extend([name] if name else [])
        elif text:
            facts[keyword] = text

    for keyword in _META_KEYS:
        keep(keyword, _code_string(dataset, keyword), "modality" if keyword == "Modality" else None)
    if str(dataset.get("SOPClassUID") or "") in _FOR_PROCESSING:
        facts.setdefault("PresentationIntentType", "FOR PROCESSING")
    keep("BodyPartExamined", _or_coded(dataset, "BodyPartExamined", "AnatomicRegionSequence"), "body_part")
    keep("ViewPosition", _or_coded(dataset, "ViewPosition", "ViewCodeSequence"), "view")
    side = _code_string(dataset, "ImageLaterality")
    keep("Laterality", _code_string(dataset, "Laterality") if side == "" else side, "laterality")
    try:
        age = age_at_study(*(_text(dataset, keyword) for keyword in ("PatientAge", "PatientBirthDate", "StudyDate")))
        keep("PatientAgeYears", "" if age is None else f"{age:g}")
    except AgeUnreadable:
        unreadable.append("age")
    if unreadable:
        facts[UNREADABLE_FIELDS] = ",".join(unreadable)
    return facts


def acquisition(dataset: Dataset) -> dict[str, str]:
    """Facts of the exposure; those that are absent or unreadable are left out.

    Returns
    -------
    dict of str
        ``Machine``: SHA-256 over manufacturer and model, 16 hex digits, as both are free text and whoever typed them
        may have typed anything; ``ExposureMAs``; ``WindowWidthUsed``, of the first window.
    """
    facts: dict[str, str] = {}
    maker, model = (_typed(dataset, keyword) for keyword in ("Manufacturer", "ManufacturerModelName"))
    if maker or model:
        facts[MACHINE] = hashlib.sha256(f"{maker}\0{model}".encode()).hexdigest()[:16]
    exposure, fine = _number(dataset, "Exposure"), _number(dataset, "ExposureInuAs")
    if (found := fine / 1e3 if fine is not None else exposure) is not None:
        facts[EXPOSURE] = f"{found:g}"
    if (width := _number(dataset, "WindowWidth")) is not None:
        facts[WINDOW_WIDTH] = f"{width:g}"
    return facts


def _typed(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip(" \0").upper()
    except Exception:  # pydicom's errors quote the value
        return ""


def _number(dataset: Dataset, keyword: str) -> float | None:
    try:
        value: Any = dataset.get(keyword)
        first = value[0] if isinstance(value, (list, tuple)) or hasattr(value, "append") else value
        number = float(first)
    except Exception:
        return None
    return number if math.isfinite(number) else None


def _or_coded(dataset: Dataset, keyword: str, sequence: str) -> str | None:
    """The code string; where that is absent, the term of the code; None where what is there is not understood."""
    text = _code_string(dataset, keyword)
    if text != "":
        return text
    term = coded_term(dataset, sequence)
    return None if term is UNREADABLE else term


def _text(dataset: Dataset, keyword: str) -> str:
    """The value as text, empty where it is absent; several values, and what cannot be converted, as what is no code."""
    try:
        value = dataset.get(keyword)
        if isinstance(value, (list, MultiValue)):
            return "\\".join(map(str, value)).strip("\\ \0")
        return str(value or "").strip(" \0")
    except Exception:
        return "\\"


def _code_string(dataset: Dataset, keyword: str) -> str | None:
    """A value of VR CS; empty where it is absent, None where it is none."""
    text = _text(dataset, keyword).upper()
    return text if not text or CODE_STRING.fullmatch(text) else None


def _broken(error: Exception, what: str) -> Exception:
    if isinstance(error, MemoryError):
        return refuse(Code.TOO_LARGE, f"not enough memory to read {what}")
    return refuse(Code.BROKEN_HEADER, f"cannot parse {what} ({type(error).__name__})")
