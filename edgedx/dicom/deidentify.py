"""A DICOM image without who is on it: Basic Application Level Confidentiality Profile (PS3.15 E.2).

What becomes of each attribute is dicom-anonymizer's table of PS3.15 E.1-1. Here it is applied inside sequences, too,
and made stricter: sequences that the table names are removed or emptied, and private, unknown and binary attributes,
overlays and curves are removed. UIDs and the patient's ID get pseudonyms. File meta, preamble and pixels are written
anew, so nothing hides in a JPEG's comments or above BitsStored. At last the header is searched for the words of the
names and IDs that were there: somebody may have typed them where no table expects them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from io import BytesIO
from typing import Any

import pydicom
from numpy.typing import NDArray
from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian

from edgedx._version import __version__
from edgedx.core.codes import Code
from edgedx.core.errors import DependencyMissing, ImageError
from edgedx.dicom.decoding.refusals import MAX_DECODED_BYTES, check_file_size, refuse
from edgedx.dicom.reading.header import check_class, field, read_file_meta, read_header, silence_pydicom
from edgedx.dicom.reading.layout import read_layout
from edgedx.dicom.reading.pixels import check_transfer_syntax, decode
from edgedx.dicom.reading.read import pixel_element
from edgedx.dicom.writing.make import encode

from .pseudonyms import Pseudonyms

Mask = tuple[int, int, int, int]
"""x, y, width, height in pixels, from the upper left corner."""

_EDITION = "2026c"
_TEXT = frozenset(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"))
_TIMES = {"DA": "19000101", "DT": "19000101000000", "TM": "000000"}
_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "UN"))
_IDS = ("PatientID", "OtherPatientIDs", "AccessionNumber", "StudyID", "AdmissionID", "IssuerOfPatientID")
_LEAST = 4  # letters: shorter words stand elsewhere by chance; in other scripts than Latin two are a name
_DUMMY = "anonymized"
_PIXELS = frozenset(("PixelData", "FloatPixelData", "DoubleFloatPixelData", "SmallestImagePixelValue",
                     "LargestImagePixelValue", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"))  # fmt: skip
_PALETTE = re.compile("(Red|Green|Blue)PaletteColorLookupTable")

Action = Callable[[Dataset, tuple[int, int]], None]


def deidentify(data: bytes, names: Pseudonyms, masks: Sequence[Mask] = ()) -> bytes:
    """A copy of one single-frame image that names nobody.

    Parameters
    ----------
    data : bytes
        A DICOM Part 10 file.
    names : Pseudonyms
    masks : sequence of (x, y, width, height)
        Painted over with the image's least value; what is burned in is no obstacle then.

    Returns
    -------
    bytes
        A DICOM file, Explicit VR Little Endian; the same arguments give the same bytes.

    Raises
    ------
    ImageError
        ``BURNED_IN``: BurnedInAnnotation is not NO and there is no mask. ``MASK``: one lies outside of the image.
        ``IDENTIFIER_LEFT``: a word of a name or an ID stands where no rule removes it. Or a code of `read_dicom`.
    DependencyMissing
        dicom-anonymizer is not installed.
    """
    rules = _rules()
    silence_pydicom()
    check_file_size(len(data), MAX_DECODED_BYTES)
    meta = read_file_meta(data)
    check_class(meta.sop_class_uid)
    check_transfer_syntax(meta.transfer_syntax)
    if meta.transfer_syntax == ExplicitVRBigEndian:
        raise refuse(Code.TRANSFER_SYNTAX, "big endian: its tables would have to be swapped, too")
    parsed = read_header(data, meta)
    header = parsed.dataset
    if not masks and field(header, "BurnedInAnnotation", str, "").strip().upper() != "NO":
        raise ImageError(
            "BURNED_IN", "BurnedInAnnotation is not NO: names may be in the pixels",
            next_step="look at the image; then export it alone, with --mask X,Y,WIDTH,HEIGHT over what is burned in",
        )  # fmt: skip
    layout = read_layout(header, MAX_DECODED_BYTES)
    decoded = decode(data, pixel_element(parsed), header, meta.transfer_syntax, layout)
    pixels, layout = _masked(decoded.pixels, masks), decoded.layout
    try:
        dataset = pydicom.dcmread(BytesIO(data))
        identifying = set(_identifying(dataset))
        patient = names.patient(str(dataset.get("PatientID") or ""), str(dataset.get("IssuerOfPatientID") or ""))
        _clean(dataset, rules, names)
        left = identifying & set(_words_left(dataset))
        _write_pixels(dataset, pixels, layout.stored, layout.signed, layout.photometric)
        _say_what_was_done(dataset, patient, masked=bool(masks))
        plain = Dataset()  # without the preamble and the file meta that were read
        plain.update(dataset)
        done = b"" if left else encode(plain)
    except Exception as error:  # its message quotes values
        raise ImageError("BROKEN_HEADER", f"the data set cannot be rewritten ({type(error).__name__})") from None
    if left:
        raise ImageError(
            "IDENTIFIER_LEFT", "a word of a name or an ID stands in an attribute that is not removed",
            next_step="export it by hand, after a look at its header",
        )  # fmt: skip
    return done


def require_anonymizer() -> None:
    """Raise DependencyMissing where dicom-anonymizer is not installed."""
    _rules()


@cache
def _rules() -> Mapping[tuple[int, int], Action]:
    try:
        from dicomanonymizer import simpledicomanonymizer  # type: ignore[import-untyped,unused-ignore]
    except ModuleNotFoundError:
        raise DependencyMissing(
            "de-identification needs dicom-anonymizer", next_step="pip install 'edgedx[deid]'"
        ) from None
    actions = simpledicomanonymizer.initialize_actions(f"dicomfields_{_EDITION}")
    return {tag: action for tag, action in actions.items() if len(tag) == 2}


def _clean(dataset: Dataset, rules: Mapping[tuple[int, int], Action], names: Pseudonyms) -> None:
    for tag in list(dataset.keys()):
        element = dataset[tag]
        palette = _PALETTE.match(element.keyword) is not None
        repeating = 0x5000 <= tag.group < 0x5100 or 0x6000 <= tag.group < 0x6100  # curves and overlays
        unknown = tag.is_private or not dictionary_has_tag(tag)
        if repeating or unknown or (element.VR in _BINARY and not palette) or element.keyword in _PIXELS:
            del dataset[tag]
            continue
        action = rules.get((tag.group, tag.element))
        rule = "" if action is None else action.__name__
        if element.VR == "UI":
            values = [element.value] if isinstance(element.value, str) else list(element.value or ())
            element.value = [names.uid(str(value)) for value in values]
        elif element.VR == "SQ" and rule in ("", "delete_or_empty_or_replace_UID"):
            for item in element.value:
                _clean(item, rules, names)
        elif rule == "delete":
            del dataset[tag]  # its own way makes dates of year 1 of them
        elif element.VR == "SQ":
            element.value = []  # nothing in it is needed, its presence may be
        elif element.VR in _TIMES and rule:
            element.value = "" if rule in ("empty", "delete_or_empty") else _TIMES[element.VR]
        elif action is not None:
            try:
                action(dataset, (tag.group, tag.element))
            except NotImplementedError:
                del dataset[tag]


def _identifying(dataset: Dataset) -> Iterator[str]:
    """Words of all names, and whole IDs, as `_words_left` would find them."""
    for element in dataset.iterall():
        if element.VR == "PN" or element.keyword in _IDS:
            for word in _words(element.value):
                if len(word) >= (_LEAST if word.isascii() else 2) and word != _DUMMY:
                    yield word


def _words_left(dataset: Dataset) -> Iterator[str]:
    for element in dataset.iterall():
        if element.VR in _TEXT:
            yield from _words(element.value)


def _words(value: Any) -> list[str]:
    values = [value] if isinstance(value, str) or not isinstance(value, Sequence) else value
    return [word for one in values for word in re.split(r"[\W_]+", str(one or "").casefold()) if word]


def _masked(pixels: NDArray[Any], masks: Sequence[Mask]) -> NDArray[Any]:
    if not masks:
        return pixels
    done: NDArray[Any] = pixels.copy()
    least = pixels.min()
    for x, y, width, height in masks:
        if min(x, y) < 0 or min(width, height) < 1 or x + width > done.shape[1] or y + height > done.shape[0]:
            raise ImageError("MASK", "a mask lies outside of the image", next_step="give X,Y,WIDTH,HEIGHT in pixels")
        done[y : y + height, x : x + width] = least
    return done


def _write_pixels(dataset: Dataset, pixels: NDArray[Any], stored: int, signed: bool, photometric: str) -> None:
    """Image Pixel module (PS3.3 C.7.6.3) of the decoded values; what was YBR is RGB by now."""
    colour = pixels.ndim == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else photometric
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.BitsAllocated = pixels.dtype.itemsize * 8
    dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = stored, stored - 1, int(signed)
    raw = pixels.astype(pixels.dtype.newbyteorder("<")).tobytes()
    dataset.add_new("PixelData", "OB" if dataset.BitsAllocated == 8 else "OW", raw + b"\0" * (len(raw) % 2))


def _say_what_was_done(dataset: Dataset, patient: str, *, masked: bool) -> None:
    """Patient module (PS3.3 C.7.1.1) and its codes of the method (PS3.16 CID 7050)."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = dataset.PatientID = patient
    dataset.PatientIdentityRemoved = "YES"
    tool = f"dicom-anonymizer {version('dicom-anonymizer')}"
    dataset.DeidentificationMethod = [f"edgedx {__version__}", tool, f"PS3.15 E.1-1 {_EDITION}"]
    codes = [("113100", "Basic Application Confidentiality Profile")]
    if masked:
        codes.append(("113101", "Clean Pixel Data Option"))
        dataset.BurnedInAnnotation = "NO"
    dataset.DeidentificationMethodCodeSequence = [_code(*code) for code in codes]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"


def _code(value: str, meaning: str) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "DCM", meaning
    return item
