"""An image is found by its patient's ID, and the ID is nowhere."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pydicom
from bundles import SPEC, dicom

from edgedx.device.decode.decoder import Decoder
from edgedx.device.decode.search import SEARCH_KEY, digests, make_search_key, read_search_key


def test_a_key_is_made_once_for_the_services_user_alone(tmp_path: Path) -> None:
    make_search_key(tmp_path)
    path = tmp_path / SEARCH_KEY
    key = read_search_key(path)
    make_search_key(tmp_path)
    assert key is not None and len(key) == 32 and read_search_key(path) == key
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600


def test_what_is_no_key_is_none(tmp_path: Path) -> None:
    path = tmp_path / SEARCH_KEY
    assert read_search_key(path) is None
    for content in (b"", b"ab", b"\xff" * 64, b"zz" * 32):
        path.write_bytes(content)
        assert read_search_key(path) is None
    other = tmp_path / "other"
    make_search_key(tmp_path)
    os.replace(path, other)
    path.symlink_to(other)
    assert read_search_key(path) is None


def test_an_id_is_found_as_people_write_it_and_only_with_the_key() -> None:
    key = b"k" * 32
    (one,) = digests(key, ["MRN 0042"])
    assert len(one) == 16 and digests(key, [" mrn 0042 ", "MRN 0042", ""]) == (one,)
    assert digests(key, ["MRN 0043"]) != (one,) and digests(b"x" * 32, ["MRN 0042"]) != (one,)


def test_the_decoder_gives_digests_where_there_is_a_key_and_never_the_id(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", 3)
    dataset = pydicom.dcmread(path)
    dataset.PatientID, dataset.AccessionNumber = "MRN0042", "ACC-1"
    dataset.save_as(path)
    decoder = Decoder(SPEC, search_key=tmp_path / SEARCH_KEY)
    try:
        assert decoder.decode(path, None).found_by == ()
        make_search_key(tmp_path)  # while the scanner is at work
        found = decoder.decode(path, None)
    finally:
        decoder.close()
    key = read_search_key(tmp_path / SEARCH_KEY)
    assert key is not None and found.found_by == digests(key, ["MRN0042", "ACC-1"])
    assert "MRN0042" not in repr(found) and "ACC-1" not in repr(found)
