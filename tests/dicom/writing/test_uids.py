"""UIDs of what is made from a result."""

from __future__ import annotations

from edgedx.dicom.writing.uids import device_uid, object_uid, series_uid


def test_uids_are_those_of_the_first_release() -> None:
    """Another value here would give a PACS every object twice."""
    assert object_uid("a" * 64, "sr") == "2.25.134136839517593724120395871207642932641"
    assert series_uid("1.2", "b" * 64, "sr") == "2.25.66906439569825436688678988722545079935"


def test_kind_and_purpose_tell_uids_apart() -> None:
    objects = [object_uid("k", "sr"), object_uid("k", "sc")]
    series = [series_uid("k", "b", "sr"), series_uid("k", "b", "sc")]
    assert len({*objects, *series, device_uid("b")}) == 5
