"""High-Throughput JPEG 2000, of which no packaged DICOM file has any: codestreams that OpenJPH 0.9.0 wrote."""

from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import uid
from pydicom.encaps import encapsulate
from samples import code_of, saved

from edgedx.dicom.reading.read import read_dicom
from edgedx.dicom.writing.make import write_dicom

# ojph_compress -reversible true -num_decomps 2, of the arrays below as PGM and PPM.
GREY = np.arange(16 * 24, dtype=np.uint16).reshape(16, 24) * 10
GREY_STREAM = (
    "/0//UQApQAAAAAAYAAAAEAAAAAAAAAAAAAAAGAAAABAAAAAAAAAAAAABCwEB/1AACAACAAAAB/9SAAwAAgABAAIEBEAB/1wACiBweHh4cHB4/2QAFg"
    "ABT3BlbkpQSCBWZXIgMC45LjAu/5AACgAAAAAAigAB/5PAAXWA/3+Hr/8CX/9+hz/+1z8f87j/QfGv4P4XWPAAPviAGZpAyQEDB0YaIQDRugDAAKiA"
    "AWgAjDH22nACdQA2tMEGG2yw4eAo9lKB7LgAwAFZAAW2IiIiIvPwp6enwngA3r29vb29vb29vb29/xADGB79jGB79jGB7L8A/9k="
)
COLOUR = np.stack(
    [np.tile(np.arange(16) * 16, (16, 1)), np.tile(np.arange(16) * 16, (16, 1)).T, np.full((16, 16), 99)], axis=-1
).astype(np.uint8)
COLOUR_STREAM = (
    "/0//UQAvQAAAAAAQAAAAEAAAAAAAAAAAAAAAEAAAABAAAAAAAAAAAAADBwEBBwEBBwEB/1AACAACAAAABP9SAAwAAgABAQIEBEAB/1wACiBYYGBgWF"
    "hg/2QAFgABT3BlbkpQSCBWZXIgMC45LjAu/5AACgAAAAAA1QAB/5PAC1TPj9f78VyvnoUX5sEl7gMtAAAHNwDAC1hEIpFIJBKJuWVumVvmlgFAxwAA"
    "0LgAwAtQf7+/HyTEf+RfRCTkAEdjhiA9eADABPABUgAAoKfCdQCiEOLAAAHstgCgAqjH4zj+wBCB7LYAwAVEAFUAhmEYqnCCdQDH4zj+wBCB7LYAwA"
    "qYAVaqqufp6enidwBu27b9knv2Sey4AKAFYP9//3/98nv3yey4AMAKyAFY7u7u7ufAp6enwngA/3//f/3ye/fJ7LgA/9k="
)
SYNTAXES = (uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K)


def wrapped(path: Path, pixels: np.ndarray, stream: bytes, syntax: str) -> bytes:
    """A DICOM file of `pixels` whose pixel data is `stream`."""
    colour = pixels.ndim == 3
    write_dicom(path, pixels, kind="SC" if colour else "CR", bits_stored=None if colour else 12)
    ds = pydicom.dcmread(path)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.PixelData = encapsulate([stream])
    ds["PixelData"].is_undefined_length = True
    ds["PixelData"].VR = "OB"
    if colour:
        ds.PhotometricInterpretation = "YBR_RCT"
    return saved(ds)


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_pixels_are_those_that_were_compressed(tmp_path: Path, syntax: str) -> None:
    for pixels, text in ((GREY, GREY_STREAM), (COLOUR, COLOUR_STREAM)):
        found = read_dicom(wrapped(tmp_path / "a.dcm", pixels, base64.b64decode(text), syntax))
        np.testing.assert_array_equal(found.image.pixels, pixels)
        assert found.decoder.startswith("imagecodecs ") and found.transfer_syntax == syntax


def test_a_cut_stream_is_truncated(tmp_path: Path) -> None:
    stream = base64.b64decode(GREY_STREAM)
    assert code_of(wrapped(tmp_path / "a.dcm", GREY, stream[:200], uid.HTJ2K)) == "TRUNCATED"
