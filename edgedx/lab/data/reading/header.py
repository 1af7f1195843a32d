"""A few elements of a DICOM header, by which a data set is judged; whoever reads pixels uses `dicom.reading`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def header_texts(path: Path, keywords: Sequence[str]) -> dict[str, str]:
    """Elements as text by keyword, empty where absent; nothing at all where the file is no DICOM file or is broken."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(keywords))
        return {name: str(header.get(name) or "") for name in keywords}
    except (InvalidDicomError, OSError, ValueError, TypeError, AttributeError, KeyError, EOFError, NotImplementedError):
        return {}
