"""Files that the tests of reading share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from edgedx.core.errors import ImageError
from edgedx.dicom.reading.read import read_dicom

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def packaged(name: str) -> Path:
    """A test file inside the pydicom package; never downloaded."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    return Path(path)


def edited(path: Path, **elements: object) -> bytes:
    """The file with some elements replaced, None deletes."""
    ds = pydicom.dcmread(path)
    for keyword, value in elements.items():
        if value is None:
            delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)
    return saved(ds)


def saved(ds: Dataset) -> bytes:
    buffer = io.BytesIO()
    ds.save_as(buffer)
    return buffer.getvalue()


def code_of(source: Path | bytes, **options: Any) -> str:
    with pytest.raises(ImageError) as caught:
        read_dicom(source, **options)
    assert caught.value.__cause__ is None, "a chained pydicom error would print header values"
    return caught.value.code
