"""Receiving by C-STORE: the real process, real dcmtk, and peers that mean no good."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from socketserver import BaseServer

import certificates
import numpy as np
import psutil
import pydicom
import pytest
from dcmtk import dcmtk
from pacs import free_port, wait_for
from pynetdicom import evt
from pynetdicom.association import Association

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import sha256_file
from edgedx.core.settings.pacs import PacsSettings
from edgedx.device.pacs.guard import Plain, to_end
from edgedx.device.pacs.peer import peer_of
from edgedx.device.pacs.receipts import Desk, Receipts
from edgedx.device.pacs.receive_worker import Reception, Sparing
from edgedx.device.pacs.receiver import Listen, listen_of, receiving
from edgedx.device.pacs.tls_key import warn_of_key
from edgedx.dicom.receive import Load, Meter
from edgedx.dicom.writing.make import PatientFacts, write_dicom

pytestmark = pytest.mark.skipif(dcmtk("storescu") is None, reason="Debian package dcmtk is absent")
CANARY = "CANARY^JANE"


class Site:
    """An inbox that receives, and what a modality would do to it."""

    def __init__(self, folder: Path, inbox: Path | None = None) -> None:
        self.folder, self.inbox, self.out = folder, inbox or folder / "inbox", folder / "out"
        self.inbox.mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.port = free_port()

    def listen(self, **changes: object) -> Listen:
        fixed = {"called": "EDGEDX", "calling": ("CT1", "CT2"), "host": "127.0.0.1", "port": self.port}
        return Listen.model_validate({**fixed, "disk_floor": 0, **changes})

    @contextmanager
    def running(self, **changes: object) -> Iterator[Callable[[], psutil.Process]]:
        """The process, for as long as this is held; gives how to find it."""
        with receiving(self.inbox, self.out, self.listen(**changes)) as companion:
            wait_for(self.answers)
            yield lambda: psutil.Process(companion.pid)

    def answers(self) -> bool:
        with socket.socket() as one:
            return one.connect_ex(("127.0.0.1", self.port)) == 0

    def image(self, seed: int, side: int = 16) -> Path:
        path = self.folder / f"image-{seed}.dcm"
        pixels = np.random.default_rng(seed).integers(0, 4096, (side, side)).astype(np.uint16)
        write_dicom(path, pixels, bits_stored=12, subject=PatientFacts("CANARY-ID", CANARY))
        return path

    def scu(self, *files: Path, calling: str = "CT1", called: str = "EDGEDX", options: tuple[str, ...] = ()) -> str:
        """Run storescu, or echoscu without files; empty where it succeeded, else what it said."""
        program = str(dcmtk("storescu" if files else "echoscu"))
        done = subprocess.run(
            [program, *options, "-aet", calling, "-aec", called, "127.0.0.1", str(self.port), *files],
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        return "" if done.returncode == 0 else done.stdout + done.stderr or "failed"

    def names(self) -> list[str]:
        return sorted(path.name for path in self.inbox.iterdir() if not path.name.startswith("."))

    def receipts(self) -> dict[str, str]:
        ledger = Receipts(self.out / "receipts.sqlite")
        found = ledger.all()
        ledger.close()
        return found

    def check(self) -> None:
        """Every file is whole and has its receipt."""
        assert self.receipts() == {name: sha256_file(self.inbox / name) for name in self.names()}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def test_dcmtk_sends_and_echoes_and_strangers_and_attacks_get_nothing(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    # One process for all that follows: it takes longer to start than any of it.
    caplog.set_level(logging.WARNING)
    files = [site.image(seed) for seed in range(8)]
    with site.running() as process:
        pid = process().pid
        assert site.scu() == ""
        with ThreadPoolExecutor(4) as peers:  # in parallel, and most objects more than once
            said = peers.map(lambda first: site.scu(*files[first:], calling=f"CT{1 + first % 2}"), range(4))
            assert set(said) == {""}
        assert len(site.names()) == 8
        site.check()

        assert "Called AE Title Not Recognized" in site.scu(files[0], called="OTHER")
        assert "Calling AE Title Not Recognized" in site.scu(files[0], calling="DOE^JANE")
        report = site.folder / "report.dcm"
        dataset = pydicom.dcmread(files[0])
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.88.34"
        dataset.save_as(report)
        assert "No presentation context for" in site.scu(report), "a structured report is no image"
        assert len(site.names()) == 8

        # 4 GB declared, of an association request and before any title is known
        with socket.create_connection(("127.0.0.1", site.port)) as peer:
            peer.sendall(struct.pack(">BBL", 1, 0, 0xFFFFFFFF))
            assert _ended(peer, bytes(1 << 16), 64)
        assert process().memory_info().rss < 250e6

        # more connections that say nothing than are taken
        silent = [socket.create_connection(("127.0.0.1", site.port)) for _ in range(40)]
        assert site.scu(site.image(20)) == "", "who has something to say comes in nevertheless"
        for one in silent:
            one.close()
        assert process().pid == pid, "nothing of that ended it"
        told = caplog.text
        for words in ("CT1 127.0.0.1 called OTHER", "DOE?JANE 127.0.0.1", "PDU_TOO_LONG 127.0", "TOO_MANY 127.0"):
            assert words in told
        assert "CANARY" not in told and "DOE^" not in told
    assert not psutil.pid_exists(pid) and not site.answers()
    site.check()


def _ended(peer: socket.socket, data: bytes, times: int) -> bool:
    """Whether the other side ends the connection while we send."""
    try:
        for _ in range(times):
            peer.sendall(data)
        peer.settimeout(60)
        return peer.recv(1) == b""
    except ConnectionError:
        return True


def test_a_kill_loses_nothing_acknowledged_and_it_comes_back(site: Site) -> None:
    files = [site.image(seed, 512) for seed in range(12)]
    with site.running() as process:
        sent = subprocess.Popen(
            [str(dcmtk("storescu")), "-v", "-aet", "CT1", "-aec", "EDGEDX", "127.0.0.1", str(site.port), *files],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        wait_for(lambda: len(site.names()) >= 3)
        before = process().pid
        os.kill(before, signal.SIGKILL)
        acknowledged = sent.communicate(timeout=120)[0].count("Received Store Response (Success)")
        assert sum((site.inbox / name).is_file() for name in site.receipts()) >= acknowledged
        wait_for(lambda: site.answers() and process().pid != before)
        assert site.scu(*files) == "" and len(site.names()) == 12
        site.check()
    assert not [path for path in site.inbox.iterdir() if path.suffix == ".tmp"]


def test_a_full_disk_is_answered_0xa700_and_later_it_is_not(
    tmp_path: Path, small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = Site(tmp_path, inbox=small_disk)
    ballast, file = small_disk / ".ballast", site.image(1)
    with site.running(disk_floor=400_000):
        ballast.write_bytes(bytes(700_000))
        assert "Refused: OutOfResources" in site.scu(file, options=("-v",)) and site.names() == []
        ballast.unlink()
        assert site.scu(file) == ""
        site.check()
    assert "no space" in caplog.text and "there is space again" in caplog.text


@pytest.fixture
def signed(tmp_path: Path) -> Path:
    certificates.make(tmp_path / "good", "clinic", "edgedx", "ct")
    certificates.make(tmp_path / "bad", "elsewhere", "ct")
    return tmp_path


def _scu_tls(authority: Path, folder: Path) -> tuple[str, ...]:
    return ("+tls", str(folder / "ct.key"), str(folder / "ct.pem"), "+cf", str(authority))


def test_with_tls_only_a_peer_whose_certificate_is_known_comes_in(site: Site, signed: Path) -> None:
    good, bad, tell = signed / "good", signed / "bad", []
    listen = site.listen(certificate=good / "edgedx.pem", key=good / "edgedx.key", authority=good / "clinic.pem")
    file, authority = site.image(1, 512), good / "clinic.pem"
    with _inside(site, listen, tell):
        with socket.create_connection(("127.0.0.1", site.port)) as half:  # a handshake that never comes
            assert site.scu(file, options=_scu_tls(authority, good)) == ""
            half.settimeout(0.01)
            with pytest.raises(TimeoutError):
                half.recv(1)
        assert site.scu(file, options=_scu_tls(authority, bad)), "signed by somebody else"
        assert site.scu(file), "without TLS"
        wait_for(lambda: tell.count("connection dropped: TLS 127.0.0.1") >= 2)
    site.check()
    assert len(site.names()) == 1


@contextmanager
def _inside(site: Site, listen: Listen, tell: list[str]) -> Iterator[Reception]:
    """The same in this process, where its limits can be made short."""
    receipts = Receipts(site.out / "receipts.sqlite")
    reception = Reception(Desk(site.inbox, receipts, 0), listen, tell.append)
    reception.open(listen.bind())
    try:
        yield reception
    finally:
        BaseServer.shutdown(reception.server)
        reception.listener.close()
        for association in reception.server.active_associations:
            association.abort()
        receipts.close()


def test_a_peer_that_drips_and_one_that_sends_too_much_end_and_their_memory_is_given_back(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgedx.device.pacs.guard.Meter", partial(Meter, pdu_seconds=0.5, max_object=1_000_000))
    tell: list[str] = []
    with _inside(site, site.listen(), tell) as reception:
        with socket.create_connection(("127.0.0.1", site.port)) as peer:
            peer.sendall(struct.pack(">BBL", 1, 0, 200))
            peer.settimeout(0.05)
            with pytest.raises(ConnectionError):
                for _ in range(2000):
                    peer.sendall(b"\x01")
                    time.sleep(0.02)
        assert tell == ["connection dropped: SLOW 127.0.0.1"]
        assert site.scu(site.image(1, 1000)), "2 MB"
        assert site.scu(site.image(2)) == ""
        assert "connection dropped: OBJECT_TOO_LARGE 127.0.0.1" in tell
        wait_for(lambda: reception.load.bytes == 0)
    site.check()
    assert len(site.names()) == 1


# A known peer does not shut others out


def _associate(site: Site, source: str, calling: str = "CT1") -> Association:
    from pynetdicom.ae import ApplicationEntity

    entity = ApplicationEntity(ae_title=calling)
    entity.add_requested_context("1.2.840.10008.1.1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1")
    return entity.associate("127.0.0.1", site.port, ae_title="EDGEDX", bind_address=(source, 0))


def _echoes(association: Association) -> bool:
    try:
        return association.is_established and association.send_c_echo().get("Status") == 0
    except RuntimeError:
        return False


@pytest.mark.parametrize("keeping_alive", [False, True], ids=["idle", "echoing"])
def test_idle_associations_of_a_known_peer_make_room_for_another(site: Site, keeping_alive: bool) -> None:
    tell: list[str] = []
    with _inside(site, site.listen(connections=4), tell) as reception:
        hogs = [_associate(site, f"127.0.0.{1 + index % 2}") for index in range(4)]
        assert all(_echoes(hog) for hog in hogs) if keeping_alive else all(hog.is_established for hog in hogs)
        other = _associate(site, "127.0.0.9", "CT2")
        assert _echoes(other) and other.send_c_store(pydicom.dcmread(site.image(1))).Status == 0
        wait_for(lambda: sum(hog.is_established for hog in hogs) == 3)
        assert not hogs[0].is_established, "the one that was idle for the longest"
        assert tell == ["connection dropped: TOO_MANY 127.0.0.9"]
        for association in (*hogs, other):
            association.abort()
        wait_for(lambda: not reception.server.active_associations)


def test_one_address_never_has_all_connections_however_busy_it_is(site: Site) -> None:
    """It begins as many objects as it may, and never ends them: it has three quarters, and the rest is for others."""
    tell: list[str] = []
    with _inside(site, site.listen(connections=4), tell) as reception:
        hogs = [_associate(site, "127.0.0.1") for _ in range(3)]
        for hog in hogs:  # the first part of a P-DATA-TF of 60 KB
            hog.dul.socket.send(struct.pack(">BBLLBB", 4, 0, 60_000, 59_996, 3, 3) + bytes(1000))
        wait_for(lambda: sum(peer.meter.pending > 0 for peer in reception.listener._peers if peer.meter) == 3)
        assert not _associate(site, "127.0.0.1").is_established, "a fourth of the same has no room"
        other = _associate(site, "127.0.0.9", "CT2")
        assert other.send_c_store(pydicom.dcmread(site.image(1))).Status == 0
        assert all(hog.is_established for hog in hogs), "and who is sending goes on"
        for association in (*hogs, other):
            association.abort()
    site.check()


def test_a_known_peer_that_comes_back_again_and_again_takes_its_own_connections(site: Site) -> None:
    with _inside(site, site.listen(connections=4), []):
        other = _associate(site, "127.0.0.9", "CT2")
        hogs = [_associate(site, "127.0.0.1") for _ in range(12)]
        wait_for(lambda: sum(hog.is_established for hog in hogs) <= 3)
        assert _echoes(other), "the first, idle for longer than any, is still there"
        for association in (*hogs, other):
            association.abort()


def _peer(address: str, born: float, used: float, *, silent: bool = False, pending: int = 0) -> Plain:
    peer = Plain()
    peer.address, peer.born, peer.used, peer.silent = address, born, used, silent
    peer.meter = Meter(Load())
    peer.meter.pending = pending
    return peer


def test_who_makes_room_is_decided_by_what_it_does() -> None:
    a = [_peer("a", 0, used) for used in (5, 3, 9)]
    b, sending = _peer("b", 0, 1), _peer("a", 0, 0, pending=10)
    knocking = [_peer("c", born, born, silent=True) for born in (7, 6)]
    assert to_end([*a, b, sending, *knocking]) is knocking[1], "who never asked for anything, the oldest"
    assert to_end([*a, b, sending]) is a[1], "the idlest of who has most"
    assert to_end([b, sending]) is b and to_end([sending]) is None and to_end([]) is None
    for peer in (*a, b, sending, *knocking):
        peer.close()


@pytest.mark.parametrize(("mode", "says"), [(0o644, "every user"), (0o604, "every user"), (0o660, "can change"),
                                            (0o602, "can change"), (0o600, ""), (0o640, ""), (0o400, "")])  # fmt: skip
def test_a_key_that_others_can_read_is_warned_of(
    signed: Path, caplog: pytest.LogCaptureFixture, mode: int, says: str
) -> None:
    tls = {name: str(signed / f"good/{file}") for name, file in
           (("ca", "clinic.pem"), ("certificate", "edgedx.pem"), ("key", "edgedx.key"))}  # fmt: skip
    Path(tls["key"]).chmod(mode)
    listen_of(_settings(tls=tls))
    peer_of(PacsSettings.model_validate({"send": {"ae_title": "PACS", "host": "127.0.0.1", "port": 104, "tls": tls}}))
    warned = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert len(warned) == (2 if says else 0) and all(says in text and "chmod 600" in text for text in warned)


def test_a_key_of_another_user_is_warned_of(signed: Path) -> None:
    key = signed / "good/edgedx.key"
    key.chmod(0o600)
    assert warn_of_key(key) == "" and warn_of_key(signed / "absent") == ""
    if os.geteuid() == 0:
        os.chown(key, 12345, 12345)
        assert "belongs to user 12345" in warn_of_key(key)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # pynetdicom's, each one peer's
@pytest.mark.filterwarnings("ignore:Invalid value for VR UI")
def test_garbage_ends_its_own_connection_alone(site: Site) -> None:
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.pdu import A_ASSOCIATE_RQ, A_RELEASE_RQ

    sent: list[bytes] = []
    entity = ApplicationEntity(ae_title="CT1")
    entity.add_requested_context("1.2.840.10008.5.1.4.1.1.1")
    dice = random.Random(5)
    with _inside(site, site.listen(), []) as reception:
        handlers = [(evt.EVT_DATA_SENT, lambda event: sent.append(event.data))]
        association = entity.associate("127.0.0.1", site.port, ae_title="EDGEDX", evt_handlers=handlers)
        assert association.send_c_store(pydicom.dcmread(site.image(1))).Status == 0
        association.release()
        assert len(sent) >= 3 and sent[0][0] == A_ASSOCIATE_RQ().pdu_type and sent[-1][0] == A_RELEASE_RQ().pdu_type
        for _ in range(40):
            stream = bytearray(b"".join(sent)[: dice.choice((200, 400, 10_000))])
            for _ in range(dice.choice((1, 3, 30))):
                stream[dice.randrange(len(stream))] = dice.randrange(256)
            with socket.create_connection(("127.0.0.1", site.port)) as peer, contextlib.suppress(ConnectionError):
                peer.sendall(stream)
        assert site.scu(site.image(2)) == ""
        wait_for(lambda: not reception.server.active_associations and reception.load.bytes == 0)
    site.check()


def test_who_only_knocks_leaves_no_thread_behind(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgedx.device.pacs.receive_worker._REQUEST_SECONDS", 3600.0)
    with _inside(site, site.listen(), []) as reception:
        for _ in range(20):
            socket.create_connection(("127.0.0.1", site.port)).close()
        assert site.scu() == ""
        wait_for(lambda: not reception.server.active_associations)


def test_a_flood_of_lines_is_told_in_part() -> None:
    told: list[str] = []
    sparing = Sparing(told.append, lines=3)
    for number in range(10):
        sparing(str(number))
    assert told == ["0", "1", "2"]
    sparing._told[0] -= 61.0
    sparing("later")
    assert told[-1] == "later (7 lines before it were left out)"


def _settings(**receive: object) -> PacsSettings:
    return PacsSettings.model_validate({"receive": {"allow": ["CT1"], "port": 11112, **receive}})


def test_an_address_that_is_not_given_is_loopback_and_any_sender_must_be_asked_for() -> None:
    port = free_port()
    listen = listen_of(_settings(port=port, allow="*"))
    assert (listen.host, listen.port, listen.calling, listen.called) == ("127.0.0.1", port, (), "EDGEDX")
    assert listen_of(_settings(port=port)).calling == ("CT1",)
    with pytest.raises(UsageError, match="receive"):
        listen_of(PacsSettings.model_validate({"send": {"ae_title": "A", "host": "h", "port": 104}}))


def test_ipv6_is_listened_on_too(site: Site) -> None:  # dcmtk does not speak it
    from pynetdicom.ae import ApplicationEntity

    listen = site.listen(host="::1")
    try:
        listen.bind().close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    assert listen_of(_settings(address="[::1]", port=site.port, allow=["CT 1"])).host == "::1"
    with _inside(site, listen, []):
        entity = ApplicationEntity(ae_title="CT1")
        entity.add_requested_context("1.2.840.10008.1.1")
        association = entity.associate("::1", site.port, ae_title="EDGEDX")
        assert association.is_established and association.send_c_echo().Status == 0
        association.release()


def test_an_address_of_another_machine_and_a_missing_file_of_tls_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=r"receive.address 192\.0\.2\.1.*cannot listen"):
        listen_of(_settings(address="192.0.2.1"))
    with pytest.raises(InputOutputError, match=r"a\.pem"):
        files = {name: str(tmp_path / "a.pem") for name in ("certificate", "key", "ca")}
        listen_of(_settings(tls=files))
