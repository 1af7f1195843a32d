"""An archive of real PACS by DIMSE: Orthanc, and dcmtk's dcmqrscp."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydicom
import pytest
from bundles import dicom, write_tiny
from certificates import make
from dcmtk import dcmtk
from pacs import dcmqrscp, free_port, needs_orthanc, orthanc
from pydicom.uid import generate_uid

from edgedx.core.codes import Code
from edgedx.core.errors import EdgedxError, InputOutputError, UsageError
from edgedx.core.settings.pacs import ClientTls
from edgedx.lab.archive import dimse_fetch, dimse_find, dimse_line
from edgedx.lab.archive.access import Access, NotGiven, Objects, access_of
from edgedx.lab.archive.archive import MISSING, RESULTS, Archive, archive
from edgedx.lab.archive.dimse import Dimse
from edgedx.lab.archive.journal import JOURNAL, addresses_of

pytest.importorskip("pynetdicom", reason="needs edgedx[net]")
pq = pytest.importorskip("pyarrow.parquet", reason="needs edgedx[cluster]")
needs_dcmqrscp = pytest.mark.skipif(dcmtk("dcmqrscp") is None, reason="Debian package dcmtk is absent")


def _studies(folder: Path, times: Sequence[tuple[str, str]]) -> list[Path]:
    """One CR image for each date and time, of different studies."""
    files = []
    for number, (day, minute) in enumerate(times):
        file = dicom(folder / f"{number}.dcm", number)
        dataset = pydicom.dcmread(file)
        dataset.StudyDate, dataset.StudyTime = day, minute
        for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
            setattr(dataset, keyword, generate_uid(entropy_srcs=[keyword, str(number)]))
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.save_as(file)
        files.append(file)
    return files


def _uids(files: Sequence[Path]) -> set[str]:
    return {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}


def _rows(out: Path, name: str = RESULTS) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.read_table(out / name).to_pylist()
    return rows


def _all(source: str, access: Access | None = None) -> dict[str, bytes]:
    """Everything behind an address, by SOP instance."""
    pacs = Dimse(source, access or Access())
    try:
        addresses = [address for study in pacs.studies() for address in pacs.objects(study)]
        return {address.split("/")[6]: pacs.fetch(address) for address in addresses}
    finally:
        pacs.close()


def _listed(source: str) -> set[str]:
    """SOP instances behind an address."""
    pacs = Dimse(source, Access())
    try:
        return {address.split("/")[6] for study in pacs.studies() for address in pacs.objects(study)}
    finally:
        pacs.close()


def _refused(source: str, access: Access | None = None) -> EdgedxError:
    with pytest.raises(EdgedxError) as failure:
        _all(source, access)
    return failure.value


@needs_orthanc
def test_a_pacs_gives_the_rows_that_its_files_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    files = [
        dicom(tmp_path / f"studies/{number}.dcm", number, kind="CR" if number < 4 else "DX") for number in range(6)
    ]
    port, ours = free_port(), free_port()
    with orthanc(tmp_path / "pacs", port, sends_to=ours) as pacs:
        for file in files:
            pacs.put(file)
        source, gone = f"dimse://EDGEDX@127.0.0.1:{port}/ORTHANC", sorted(_uids(files))[2]
        made = Archive(source, bundle.path, tmp_path / "all", size=4, jobs=2)
        summary = archive(made)
        moved = _all(f"{source}?Modality=DX", Access(move_to=f"127.0.0.1:{ours}"))
        listed = Dimse(source, Access(pause=0.01))
        addresses = [address for study in listed.studies() for address in listed.objects(study)]
        pacs.delete(gone)
        with pytest.raises(NotGiven, match="DIMSE status"):
            listed.fetch(next(one for one in addresses if gone in one))
        left = next(one for one in addresses if gone not in one)
        with monkeypatch.context() as small:
            small.setattr(dimse_fetch, "LARGEST", 1000)
            with pytest.raises(NotGiven, match="more than 1000 bytes"):
                listed.fetch(left)
        assert pydicom.dcmread(io.BytesIO(listed.fetch(left)))
        listed.close()
    archive(Archive(str(tmp_path / "studies"), bundle.path, tmp_path / "files", jobs=1))
    whole, local = ({row["sop_instance_uid"]: row for row in _rows(tmp_path / name)} for name in ("all", "files"))
    assert len(local) == 6 and whole.keys() == local.keys() and summary["missing"] == 0
    not_of_the_image = {"path", "sha256", "key", "bytes"}  # an object on its way has no file meta information
    for uid, row in whole.items():
        assert all(row[name] == value for name, value in local[uid].items() if name not in not_of_the_image)
        assert row["path"].decode().split("/")[6] == uid
    assert len(moved) == 2 and {uid for uid, row in local.items() if uid in moved} == moved.keys()
    assert archive(made)["shards_read"] == 0, "it does not need the PACS any more"


@needs_orthanc
def test_where_the_pacs_limits_its_answers_time_is_halved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse_find, "MANY", 3)
    days = [("20240301", "080000"), ("20240301", "0801"), ("20240301", "235959"), ("20240301", "000000.5")]
    days += [("20250630", f"{hour:02}1500") for hour in range(5)] + [("20230101", "12"), ("20260101", "")]
    files = _studies(tmp_path / "studies", days)
    port = free_port()
    with orthanc(tmp_path / "pacs", port, LimitFindResults=3) as pacs:
        for file in files:
            pacs.put(file)
        source = f"dimse://EDGEDX@127.0.0.1:{port}/ORTHANC"
        assert _listed(source) == _uids(files)
        assert _listed(f"{source}?StudyDate=20240301-20250629") == _uids(files[:4])
        assert _listed(f"{source}?StudyDate=20250630&Modality=CR") == _uids(files[4:9])
        more = _refused(f"{source}?StudyDate=20250630&StudyTime=0000-2359")
        assert "gives 3 studies of 2025-06-30, and not all" in more.message


@needs_dcmqrscp
def test_dcmtk_gives_by_get_and_by_move_and_words_that_it_ignores_are_told(tmp_path: Path) -> None:
    files = _studies(tmp_path / "studies", [("20240301", "0800"), ("20240302", "0800"), ("20250101", "0800")])
    port, ours = free_port(), free_port()
    with dcmqrscp(tmp_path / "pacs", port, files, sends_to=ours):
        at = f"127.0.0.1:{port}/QRSCP?StudyDate=20240301-20240302"
        got, moved = _all(f"dimse://EDGEDX@{at}"), _all(f"dimse://EDGEDX@{at}", Access(move_to=f"127.0.0.1:{ours}"))
        assert got.keys() == moved.keys() == _uids(files[:2])
        for uid, content in got.items():
            pixels = {pydicom.dcmread(io.BytesIO(one)).PixelData for one in (content, moved[uid])}
            assert len(pixels) == 1
        assert "does not choose by ModalitiesInStudy" in _refused(f"dimse://EDGEDX@{at}&ModalitiesInStudy=MR").message
        stranger = _refused(f"dimse://NOBODY@{at}", Access(move_to=f"127.0.0.1:{free_port()}"))
        assert "does not know NOBODY as a place to send to" in stranger.message
        assert "the title OTHER" in _refused(f"dimse://EDGEDX@127.0.0.1:{port}/OTHER").message
    with dcmqrscp(tmp_path / "no-get", port, files, "--disable-get"):
        refusal = _refused(f"dimse://EDGEDX@{at}")
        assert "does not offer C-GET" in refusal.message and "--move-to" in (refusal.next_step or "")


@needs_orthanc
def test_with_tls_both_prove_themselves(tmp_path: Path) -> None:
    files, pem = _studies(tmp_path / "studies", [("20240301", "0800")]), tmp_path / "pem"
    make(pem, "clinic", "edgedx", "ct")
    port = free_port()
    tls = {
        "DicomTlsEnabled": True, "DicomTlsCertificate": str(pem / "edgedx.pem"),
        "DicomTlsPrivateKey": str(pem / "edgedx.key"), "DicomTlsTrustedCertificates": str(pem / "clinic.pem"),
    }  # fmt: skip
    with orthanc(tmp_path / "pacs", port, **tls) as pacs:
        pacs.put(files[0])
        source = f"dimse://EDGEDX@127.0.0.1:{port}/ORTHANC"
        ours = ClientTls(ca=pem / "clinic.pem", certificate=pem / "ct.pem", key=pem / "ct.key")
        assert _all(source, Access(tls=ours)).keys() == _uids(files)


def test_a_pacs_that_is_none_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dimse_line, "_WAIT_S", 0.0)
    bundle = write_tiny(tmp_path / "tiny.edgedx")
    with pytest.raises(InputOutputError, match="does not answer"):
        archive(Archive(f"dimse://A@127.0.0.1:{free_port()}/B", bundle.path, tmp_path / "out", jobs=1))
    with pytest.raises(UsageError, match="one association"):
        archive(Archive("dimse://A@pacs:104/B", bundle.path, tmp_path / "out", on="ray"))


class _Pacs:
    """Two studies; asked for the second one it breaks, until it is mended."""

    def __init__(self) -> None:
        self.broken, self.asked = True, list[str]()

    def studies(self) -> list[str]:
        return ["1", "2"]

    def objects(self, study: str) -> list[str]:
        self.asked.append(study)
        if self.broken and study == "2":
            raise InputOutputError("broken")
        return [f"{study}/{number}" for number in range(2)]


def test_a_listing_goes_on_with_the_study_that_it_was_at(tmp_path: Path) -> None:
    pacs: Any = _Pacs()
    with pytest.raises(InputOutputError):
        list(addresses_of(pacs, "one", tmp_path))
    with (tmp_path / JOURNAL).open("ab") as stream:
        stream.write(b'["2", "2/')  # a kill amid a line
    pacs.broken = False
    assert list(addresses_of(pacs, "one", tmp_path)) == [b"1/0", b"1/1", b"2/0", b"2/1"]
    assert pacs.asked == ["1", "2", "2"]
    list(addresses_of(pacs, "another", tmp_path))
    assert pacs.asked[3:] == ["1", "2"]


def test_what_is_not_given_is_told_by_itself_and_a_pacs_that_gives_nothing_ends_the_run(tmp_path: Path) -> None:
    class Empty:
        def fetch(self, address: str) -> bytes:
            if address.endswith("good"):
                return b"content"
            raise NotGiven("DIMSE status 0xC000, 1 sub-operations failed")

    pacs: Any = Empty()
    objects = Objects(pacs)
    for _ in range(99):
        with pytest.raises(NotGiven), objects.file("a"):
            pass
    with pytest.raises(InputOutputError, match="none of the first 100"), objects.file("a"):
        pass
    objects = Objects(pacs)
    with objects.file("good") as path:
        assert path.read_bytes() == b"content"
    assert not path.exists()
    for _ in range(200):
        with pytest.raises(NotGiven), objects.file("a"):
            pass


def test_rows_of_what_is_missing_stand_in_a_table_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pyarrow as pa

    from edgedx.lab.archive.archive import _join
    from edgedx.lab.archive.parquet import row_of_missing, schema_of
    from edgedx.lab.archive.plan import PARTS, Plan, part_of

    (tmp_path / PARTS).mkdir()
    schema = schema_of(["a", "b"])
    rows = [row_of_missing(NotGiven("HTTP status 404"), b"https://x/1", schema),
            row_of_missing(NotGiven("a report", Code.NO_PIXELS), b"https://x/2", schema)]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), part_of(tmp_path, 0))
    plan = Plan(source="s", files=2, size=5, bundle_path="b", bundle="b", variant="v")
    summary = _join(tmp_path, plan, ["a", "b"])
    assert (summary["missing"], summary["contents"]) == (2, 0) and _rows(tmp_path) == []
    assert [(row["path"], row["code"]) for row in _rows(tmp_path, MISSING)] == [
        (b"https://x/1", "NOT_RETRIEVED"), (b"https://x/2", "NO_PIXELS")
    ]  # fmt: skip


def test_reports_are_not_asked_for() -> None:
    fetcher = dimse_fetch.Fetcher(Dimse("dimse://A@127.0.0.1:1/B", Access())._line, None, "A")
    with pytest.raises(NotGiven, match="holds no image") as refusal:
        fetcher.fetch("1", "2", "3", "1.2.840.10008.5.1.4.1.1.88.33")
    assert refusal.value.code is Code.NO_PIXELS


@pytest.mark.parametrize(
    ("source", "access", "said"),
    [
        ("dimse://A@host/B", Access(), "lacks host, port or title"),
        ("dimse://A@host:104/B?Nothing=1", Access(), "'Nothing' is no DICOM keyword"),
        ("dimse://A@host:104/B?StudyDate=2025", Access(), "StudyDate is no day"),
        ("dimse://A%5CB@host:104/B", Access(), "no application entity title"),
        ("dimse://A@host:104/B", Access(move_to="here"), "--move-to is no ADDRESS:PORT"),
        ("dimse://A@host:104/B", Access(move_to="h:1", tls=ClientTls(ca=Path("a"))), "asks for our certificate"),
        ("https://pacs/dicom-web", Access(pause=1.0), "are for a source dimse"),
    ],
)
def test_a_wrong_address_is_named(source: str, access: Access, said: str) -> None:
    from edgedx.lab.archive.pacs import pacs_of

    with pytest.raises(UsageError, match=said):
        pacs_of(source, access)


def test_files_of_tls_that_do_not_go_together_are_refused() -> None:
    pem = Path("a.pem")
    for files in ((None, pem, pem), (pem, pem, None)):
        with pytest.raises(UsageError):
            access_of(*files, None, 0.0)


def test_halves_of_a_span_leave_no_minute_out() -> None:
    from datetime import date, datetime, timedelta

    from edgedx.lab.archive.dimse_address import Span, whole

    waiting, leaves = [whole(date(2024, 2, 28), date(2024, 3, 1))], []
    while waiting:
        span = waiting.pop()
        halves = span.halves(of_days=False)
        waiting += halves or ()
        leaves += [] if halves else [span]
    leaves.sort(key=lambda span: span.begin)
    assert all(one.end == two.begin for one, two in itertools.pairwise(leaves)) and len(leaves) == 3 * 24 * 60
    assert leaves[0].words() == {"StudyDate": "20240228", "StudyTime": "-000059.999999"}
    day = datetime(2024, 2, 29)
    assert Span(day, day + timedelta(days=1)).words() == {"StudyDate": "20240229-20240229"}
    assert Span(day + timedelta(hours=12), day + timedelta(days=1)).words()["StudyTime"] == "1159-"
