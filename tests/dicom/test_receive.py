"""What is taken from a network, what it is called, and how much and how slowly a peer may send: without a network."""

from __future__ import annotations

import struct
from io import BytesIO

import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from samples import RAMP

from edgedx.dicom.reading.open import sniff
from edgedx.dicom.reading.pixels import decoders
from edgedx.dicom.receive import (
    MAX_DECLARED,
    Load,
    Meter,
    PeerRefused,
    file_header,
    file_name,
    identify,
    is_image_class,
    syntaxes,
    told_title,
)
from edgedx.dicom.writing.make import write_dicom

CR, INSTANCE = "1.2.840.10008.5.1.4.1.1.1", "1.2.3.4"
IMPLICIT, EXPLICIT, BIG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def pdu(body: bytes, kind: int = 4) -> bytes:
    return struct.pack(">BBL", kind, 0, len(body)) + body


def encoded(syntax: str, **elements: object) -> BytesIO:
    """A data set as a C-STORE carries it."""
    dataset = Dataset()
    for name, value in {"SOPClassUID": CR, "SOPInstanceUID": INSTANCE, "PatientName": "A^B", **elements}.items():
        if value is not None:
            setattr(dataset, name, value)
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = syntax == IMPLICIT, syntax != BIG
    write_dataset(stream, dataset)
    return BytesIO(stream.getvalue())


@pytest.mark.parametrize("piece", [1, 5, 6, 7, 4096])
def test_a_stream_of_pdus_passes_however_it_is_cut(piece: int) -> None:
    meter, data = Meter(Load()), pdu(b"a" * 300) + pdu(b"") + pdu(b"b" * 5000) + pdu(b"", 5)
    for start in range(0, len(data), piece):
        meter.feed(data[start : start + piece], 0.0)
    assert meter.pending == len(data) and meter.patience(50.0) == meter.pdu_seconds, "no PDU is under way"
    meter.answered()
    assert meter.load.bytes == 0


@pytest.mark.parametrize("declared", [MAX_DECLARED + 1, 0xFFFFFFFF])
@pytest.mark.parametrize("kind", [1, 4])
def test_a_declared_length_is_refused_at_its_sixth_byte(declared: int, kind: int) -> None:
    meter = Meter(Load())
    header = struct.pack(">BBL", kind, 0, declared)
    meter.feed(header[:5], 0.0)
    with pytest.raises(PeerRefused, match="PDU_TOO_LONG"):
        meter.feed(header[5:], 0.0)
    assert meter.pending == 6


@pytest.mark.parametrize("first", [b"\x00", b"\x08", b"GET / HTTP/1.1", b"\x16\x03\x01"])
def test_what_is_no_pdu_is_refused_at_its_first_byte(first: bytes) -> None:
    with pytest.raises(PeerRefused, match="NOT_DICOM"):
        Meter(Load()).feed(first, 0.0)


def test_an_object_above_the_cap_is_refused_and_several_below_it_are_not() -> None:
    meter = Meter(Load(), max_object=10_000)
    for _ in range(5):
        meter.feed(pdu(b"a" * 9000), 0.0)
        meter.answered()
    meter.feed(pdu(b"a" * 9000), 0.0)
    with pytest.raises(PeerRefused, match="OBJECT_TOO_LARGE"):
        meter.feed(pdu(b"a" * 1000), 0.0)


def test_all_peers_together_have_a_limit_and_the_memory_of_one_that_ends_is_given_back() -> None:
    load = Load(10_000)
    one, other = Meter(load), Meter(load)
    one.feed(pdu(b"a" * 6000), 0.0)
    with pytest.raises(PeerRefused, match="BUSY"):
        other.feed(pdu(b"a" * 6000), 0.0)
    other.answered()
    one.answered()
    other.feed(pdu(b"a" * 6000), 0.0)


def test_a_pdu_that_drips_and_an_object_that_drips_by_whole_pdus_end() -> None:
    meter = Meter(Load(), pdu_seconds=30.0, object_seconds=100.0)
    meter.feed(b"\x04", 0.0)
    assert meter.patience(29.0) == 1.0
    with pytest.raises(PeerRefused, match="SLOW"):
        meter.patience(30.0)
    meter = Meter(Load(), pdu_seconds=30.0, object_seconds=100.0)
    for second in range(0, 100, 20):
        meter.feed(pdu(b"a"), float(second))
    assert meter.patience(90.0) == 10.0
    with pytest.raises(PeerRefused, match="SLOW"):
        meter.patience(100.0)
    meter.answered()
    assert meter.patience(100.0) == 30.0


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT, BIG])
def test_an_object_is_identified_in_every_encoding(syntax: str) -> None:
    assert identify(encoded(syntax), syntax) == (CR, INSTANCE)


@pytest.mark.parametrize(
    "data",
    [
        b"", b"\x00", b"GET / HTTP/1.1\r\n\r\n", bytes(500), b"\xff" * 500, b"\x08\x00\x18\x00UI\xff\xff1.2",
        encoded(EXPLICIT, SOPInstanceUID=None).getvalue(), encoded(EXPLICIT, SOPClassUID=None).getvalue(),
        encoded(EXPLICIT, SOPInstanceUID="").getvalue(), encoded(EXPLICIT).getvalue().replace(b"1.2.3.4", b"../../x"),
        encoded(EXPLICIT).getvalue().replace(b"1.2.3.4", b"1.2\\3.4"),
    ],
)  # fmt: skip
def test_what_has_no_identifiers_is_none(data: bytes) -> None:
    assert identify(BytesIO(data), EXPLICIT) is None


def test_a_file_is_made_of_what_was_sent_and_a_header_that_never_changes() -> None:
    header = file_header(CR, INSTANCE, EXPLICIT)
    assert header == file_header(CR, INSTANCE, EXPLICIT) and header.startswith(bytes(128) + b"DICM")
    data = header + encoded(EXPLICIT).getvalue()
    found = pydicom.dcmread(BytesIO(data))
    assert sniff(data) == "dicom" and found.PatientName == "A^B" and found.file_meta.TransferSyntaxUID == EXPLICIT
    assert found.file_meta.MediaStorageSOPInstanceUID == found.SOPInstanceUID == INSTANCE


def test_a_name_is_made_of_hashes_alone() -> None:
    name = file_name("../../etc/passwd", "ab" * 32)
    assert name.endswith(f"-{'ab' * 16}.dcm") and len(name) == 69 and not set(name) - set("0123456789abcdef-.dcm")
    assert file_name(INSTANCE, "ab" * 32) != file_name(INSTANCE, "cd" * 32) != file_name("1.2.3.5", "cd" * 32)


def test_image_classes_are_taken_and_nothing_else() -> None:
    assert is_image_class(CR) and is_image_class("1.2.840.10008.5.1.4.1.1.2")
    report, waveform, query = "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.9.1.1", "1.2.840.10008.1.1"
    assert not any(is_image_class(one) for one in (report, waveform, query, "1.2.3", ""))


def test_only_what_can_be_decoded_here_is_offered() -> None:
    assert {IMPLICIT, EXPLICIT, BIG} < set(syntaxes()) <= set(decoders())


def test_a_title_in_a_log_is_short_and_harmless() -> None:
    assert told_title("CT1") == "CT1" and told_title(None) == "None" and told_title("") == "-"
    assert told_title("DOE^JANE\n2026 ERROR all is well") == "DOE?JANE?2026?ER"


def test_a_made_object_survives_the_way_through_the_network_unchanged(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "a.dcm"  # type: ignore[operator]
    write_dicom(path, RAMP, bits_stored=12)
    found = pydicom.dcmread(path)
    body = BytesIO(path.read_bytes()[132 + 12 + found.file_meta.FileMetaInformationGroupLength :])
    assert identify(body, EXPLICIT) == (found.SOPClassUID, found.SOPInstanceUID)
    again = pydicom.dcmread(BytesIO(file_header(found.SOPClassUID, found.SOPInstanceUID, EXPLICIT) + body.getvalue()))
    assert again == found
