"""Sending to a PACS: real archives on loopback; dead, refusing, slow to come, killed in between; and nothing twice."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pacs import free_port, needs_dcmtk, needs_orthanc, orthanc, stern, storescp, wait_for

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.result import Prediction, Result, Runtime, SourceFile, result_key
from edgedx.core.settings.pacs import PacsSettings
from edgedx.device.pacs.outbox import MAX_ATTEMPTS, Outbox
from edgedx.device.pacs.peer import Peer, peer_of
from edgedx.device.pacs.push_worker import Pusher
from edgedx.dicom.writing.capture_sc import build_capture
from edgedx.dicom.writing.make import write_dicom
from edgedx.dicom.writing.report_sr import build_report
from edgedx.dicom.writing.source_header import read_source

PICTURE = np.zeros((64, 64, 3), np.uint8)


class Sending:
    """An output folder with a few objects in its outbox."""

    def __init__(self, out: Path) -> None:
        self.out, self.port = out, free_port()
        self.folder = out / "dicom"
        self.folder.mkdir(parents=True)
        self.box = Outbox(self.folder / "outbox.sqlite")
        self.told: list[str] = []
        self.uids: list[str] = []

    def fill(self, images: int) -> None:
        """Two objects, SR and SC, for each of so many images."""
        write_dicom(self.out / "source.dcm", np.arange(256, dtype=np.uint8).reshape(16, 16))
        header = read_source((self.out / "source.dcm").read_bytes())
        for number in range(images):
            result = Result(
                key=result_key(str(number), "bundle"), status="done",
                source=SourceFile(name="a.dcm", sha256="b" * 64, bytes=1, format="dicom"),
                prediction=Prediction(label="a", probabilities={"a": 0.9, "b": 0.1}, operating_point="p", threshold={}),
                runtime=Runtime(bundle="c" * 64, model="m 1", variant="fp32", provider="CPU", edgedx="0.1.0"),
                sequence=number + 1, created="2026-11-23T07:40:00Z", clock_trusted=True,
            )  # fmt: skip
            for kind, data in (("sr", build_report(result, header)), ("sc", build_capture(result, header, PICTURE))):
                file = self.folder / f"{number:032d}-{kind}.dcm"
                file.write_bytes(data)
                self.uids.append(str(pydicom.dcmread(file).SOPInstanceUID))
                self.box.add(self.uids[-1], file.name, len(data))

    def peer(self, called: str = "ANY", calling: str = "EDGEDX", **files: Path) -> Peer:
        return Peer(called=called, calling=calling, host="127.0.0.1", port=self.port, **files)

    def pusher(self, peer: Peer | None = None) -> Pusher:
        return Pusher(self.out, peer or self.peer(), self.box, self.told.append)

    def left(self) -> list[Path]:
        return sorted(self.folder.glob("*.dcm"))


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    one = Sending(tmp_path / "out")
    yield one
    one.box.close()


@needs_dcmtk
def test_dcmtk_gets_every_object_and_the_files_go(sending: Sending, tmp_path: Path) -> None:
    sending.fill(2)
    with storescp(tmp_path, sending.port) as stored:
        assert sending.pusher().run()
        uids = [str(pydicom.dcmread(path).SOPInstanceUID) for path in stored.iterdir()]
    assert sorted(uids) == sorted(sending.uids)
    assert sending.box.counts() == {"queued": 0, "sent": 4, "failed": 0, "queued_bytes": 0} and sending.left() == []


def test_a_dead_pacs_costs_no_object_anything_and_gets_all_when_it_comes(sending: Sending) -> None:
    sending.fill(1)
    pusher = sending.pusher()
    assert not pusher.run() and not pusher.run() and pusher.failures == 2
    assert "no connection, 2 in a row" in sending.told[-1]
    assert [one.attempts for one in sending.box.next(9)] == [0, 0] and len(sending.left()) == 2
    with stern(sending.port) as scp:
        assert pusher.run() and pusher.failures == 0
    assert sorted(scp.took) == sorted(sending.uids)


def test_a_refused_association_is_told_by_its_codes_and_tried_again(sending: Sending) -> None:
    sending.fill(1)
    with stern(sending.port, called="OTHER"):
        assert not sending.pusher().run()
    assert "rejected (result 1, source 1, reason 7)" in sending.told[-1]
    assert sending.box.counts()["queued"] == 2


def test_an_answer_of_no_space_is_waited_out(sending: Sending) -> None:
    sending.fill(1)
    pusher = sending.pusher()
    with stern(sending.port, [0xA700]) as scp:
        assert not pusher.run() and pusher.failures == 1 and scp.took == []
        assert pusher.run()
    assert sorted(scp.took) == sorted(sending.uids)


def test_a_processing_failure_is_tried_again_after_the_others(sending: Sending) -> None:
    sending.fill(1)
    pusher = sending.pusher()
    with stern(sending.port, [0x0110]) as scp:
        assert not pusher.run() and pusher.failures == 0, "a short pause, as the PACS took the other"
        assert pusher.run()
    assert scp.took == [sending.uids[1], sending.uids[0]]


@pytest.mark.slow
def test_a_pacs_that_fails_at_everything_is_left_alone_longer_and_longer_and_then_for_good(sending: Sending) -> None:
    sending.fill(1)
    pusher = sending.pusher()
    with stern(sending.port, [0x0110] * 99):
        for times in range(1, MAX_ATTEMPTS):
            assert not pusher.run() and pusher.failures == times
        assert pusher.run() and [one.code for one in sending.box.failed()] == ["0x0110"] * 2


def test_what_a_pacs_cannot_understand_is_kept_and_shown_and_not_sent_for_ever(sending: Sending) -> None:
    sending.fill(1)
    with stern(sending.port, [0xC000]) as scp:
        assert sending.pusher().run() and sending.pusher().run()
        assert scp.took == [sending.uids[1]]
        assert [(one.uid, one.code) for one in sending.box.failed()] == [(sending.uids[0], "0xC000")]
        assert [path.name for path in sending.left()] == [sending.box.failed()[0].file]
        sending.box.retry()
        assert sending.pusher().run()
    assert sorted(scp.took) == sorted(sending.uids)


def test_a_pacs_without_structured_reports_gets_the_pictures(sending: Sending) -> None:
    sending.fill(2)
    with stern(sending.port, classes=["1.2.840.10008.5.1.4.1.1.7"]) as scp:
        assert sending.pusher().run()
    assert len(scp.took) == 2 and {one.code for one in sending.box.failed()} == {"NO_CONTEXT"}


def test_a_file_that_is_gone_is_told_and_stops_nothing(sending: Sending) -> None:
    sending.fill(1)
    sending.left()[0].unlink()
    with stern(sending.port) as scp:
        assert sending.pusher().run()
    assert len(scp.took) == 1 and sending.box.failed()[0].code == "FILE_GONE"


def _process(sending: Sending, peer: Peer) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgedx.device.pacs.push_worker", str(sending.out), peer.model_dump_json()]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


@needs_orthanc
def test_orthanc_has_each_object_once_through_outage_refusal_and_kill(sending: Sending, tmp_path: Path) -> None:
    _storm(sending, tmp_path, images=3, kills=1)


@needs_orthanc
@pytest.mark.slow
def test_orthanc_has_each_object_once_through_many_kills(sending: Sending, tmp_path: Path) -> None:
    _storm(sending, tmp_path, images=100, kills=12)


def _storm(sending: Sending, folder: Path, *, images: int, kills: int) -> None:
    sending.fill(images)
    pusher = sending.pusher(sending.peer("ORTHANC"))
    assert not pusher.run(), "it is down"
    with orthanc(folder / "pacs", sending.port) as pacs:
        assert not sending.pusher(sending.peer("OTHER")).run() and "rejected" in sending.told[-1]
        # Orthanc takes a stranger's association, and ends it at the first object.
        assert not sending.pusher(sending.peer("ORTHANC", "STRANGER")).run() and "NO_ANSWER" in sending.told[-1]
        assert pacs.uids() == []
        for kill in range(kills):
            worker = _process(sending, sending.peer("ORTHANC"))
            target = len(sending.uids) * (kill + 1) // (kills + 2)
            wait_for(lambda goal=target: sending.box.counts()["sent"] > goal)  # type: ignore[misc]
            os.kill(worker.pid, signal.SIGKILL)
            worker.communicate()
        there = len(pacs.uids())
        assert sending.box.counts()["queued"] > 0
    with orthanc(folder / "pacs", sending.port) as pacs:
        assert there <= len(pacs.uids()) <= there + 1  # one was on its way when its sender was killed
        worker = _process(sending, sending.peer("ORTHANC"))
        worker.communicate(timeout=300)  # the end of its stdin: send what is there, and end
        assert worker.returncode == 0
        assert sorted(pacs.uids()) == sorted(sending.uids), "none lost, none twice"
        assert pacs.get("statistics")["CountSeries"] == 2 and sending.left() == []
    assert sending.box.counts()["sent"] == len(sending.uids)


@needs_orthanc
def test_what_was_sent_and_not_recorded_is_sent_again_and_is_there_once(sending: Sending, tmp_path: Path) -> None:
    sending.fill(1)
    with orthanc(tmp_path / "pacs", sending.port) as pacs:
        pusher = sending.pusher(sending.peer("ORTHANC"))
        association = pusher._associate()
        assert pusher._attempt(association, sending.box.next(1)[0])[0] == "sent"  # and here it is killed
        association.abort()
        assert len(pacs.uids()) == 1 and sending.pusher(sending.peer("ORTHANC")).run()
        assert sorted(pacs.uids()) == sorted(sending.uids)


# TLS


def _certificate(folder: Path) -> tuple[Path, Path]:
    """Of 127.0.0.1, signed by itself."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pacs")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    plain = serialization.NoEncryption()
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return folder / "cert.pem", folder / "key.pem"


def test_tls_both_ways_and_a_stranger_gets_nothing(sending: Sending, tmp_path: Path) -> None:
    certificate, key = _certificate(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    foreign, _ = _certificate(other)
    sending.fill(1)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    with stern(sending.port, ssl_context=context) as scp:
        assert not sending.pusher(sending.peer(authority=foreign)).run(), "nobody we know has signed it"
        assert not sending.pusher().run() and scp.took == []
        assert sending.pusher(sending.peer(authority=certificate, certificate=certificate, key=key)).run()
    assert len(scp.took) == 2


# Address


def _settings(**send: object) -> PacsSettings:
    return PacsSettings.model_validate(
        {"send": {"ae_title": "PACS ONE", "host": "pacs.example", "port": 11112, **send}}
    )


def test_settings_survive_the_way_to_the_process() -> None:
    peer = peer_of(_settings())
    assert (peer.called, peer.calling, peer.host, peer.port) == ("PACS ONE", "EDGEDX", "pacs.example", 11112)
    assert Peer.model_validate(json.loads(peer.model_dump_json())) == peer
    assert peer_of(_settings(host="[::1]")).host == "::1"


def test_a_missing_section_or_file_is_said_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="send"):
        peer_of(PacsSettings.model_validate({"receive": {"allow": "*", "port": 11112}}))
    with pytest.raises(InputOutputError, match=r"no\.pem"):
        peer_of(_settings(tls={"ca": str(tmp_path / "no.pem")}))
