"""Patient ID and accession number of a DICOM file, for those alone who hash them; reading an image never loads them."""

from __future__ import annotations

from io import BytesIO

from pydicom.filereader import dcmread

from edgedx.dicom.reading.header import silence_pydicom

_KEYWORDS = ("PatientID", "AccessionNumber")
_LONGEST = 64  # characters of a value (PS3.5, LO)


def identifiers(content: bytes) -> tuple[str, ...]:
    """What is there of both; nothing where the content is no DICOM, or cannot be understood.

    Parameters
    ----------
    content : bytes
        Of a whole file.
    """
    if content[128:132] != b"DICM":
        return ()
    silence_pydicom()
    try:
        found = dcmread(BytesIO(content), stop_before_pixels=True, specific_tags=[*_KEYWORDS])
        values = [str(found.get(keyword) or "").strip(" \0") for keyword in _KEYWORDS]
    except Exception:  # a header that cannot be read is told by who reads the image
        return ()
    return tuple(value for value in values if 0 < len(value) <= _LONGEST)
