"""What a device tells of itself: signed, counted, on its way by stick or HTTPS, and nothing of any patient."""

from __future__ import annotations

import json
import ssl
from pathlib import Path

import pytest
from bundles import dicom, png
from certificates import make
from fleets import FleetPlace, web
from pydantic import ValidationError

from edgedx.core.bundle.signing import read_public
from edgedx.core.errors import GateRefused, InputOutputError, UsageError
from edgedx.device.fleet.status import tell, unseal
from edgedx.device.fleet.summary import TROUBLES, ScannerCounts, Summary, TroubleCode, summarise
from edgedx.device.fleet.trust import box_key
from edgedx.device.operation.service import ScanJob, scan

CANARY = "MEIERHUBER"


def _scanned(fleet: FleetPlace) -> Path:
    """An output folder of a real scanner, whose images and files bear a patient's name."""
    inbox, out = fleet.folder / "inbox", fleet.folder / "out"
    dicom(inbox / f"{CANARY}^A.dcm", 1, name=CANARY)
    png(inbox / f"{CANARY}.png", 2)
    (inbox / f"{CANARY} notes.dcm").write_bytes(b"not an image")
    job = ScanJob(inbox, fleet.root, out, once=True, workers=1, threads=1, settle=0.0, patience=0.0)
    scan(job, lambda text: None)
    return out


def test_nothing_of_a_patient_leaves(member: FleetPlace, capsys: pytest.CaptureFixture[str]) -> None:
    out = _scanned(member)
    done = tell(member.root, out, str(member.folder))
    data = Path(str(done.delivered)).read_bytes()
    for secret in (CANARY, "inbox", str(member.folder), "notes"):
        assert secret.encode() not in data, secret
    assert done.summary.scanner is not None and sum(done.summary.scanner.results.values()) >= 2
    assert done.summary.model is not None and done.summary.model.version == "1"
    assert CANARY not in capsys.readouterr().out


def test_it_is_signed_by_the_device_and_a_changed_byte_shows(member: FleetPlace) -> None:
    tell(member.root, member.folder / "out", str(member.folder))
    file = member.folder / "clinic-1.status.json"
    key = box_key(member.root)[1]
    summary, signer = unseal(file.read_bytes(), [key])
    assert signer == key and summary.box == "clinic-1" and summary.troubles == ["NO_SCANNER"]
    assert unseal(file.read_bytes(), [])[1] is None
    other = read_public(member.keys / "release" / "release.pub")
    assert unseal(file.read_bytes(), [other])[1] is None
    changed = json.loads(file.read_bytes())
    changed["status"]["troubles"] = []
    with pytest.raises(GateRefused, match="was changed after it was signed"):
        unseal(json.dumps(changed).encode(), [key])
    changed["status"]["patient"] = "x"
    with pytest.raises(InputOutputError, match="no status file"):
        unseal(json.dumps(changed).encode(), [key])


def test_its_number_grows_whatever_happens(member: FleetPlace) -> None:
    out = member.folder / "out"
    assert [tell(member.root, out).summary.sequence for _ in range(3)] == [1, 2, 3]
    with pytest.raises(InputOutputError):
        tell(member.root, out, "/dev/null/no-stick")
    assert tell(member.root, out).summary.sequence == 5


def test_by_http_with_a_word_and_again_when_the_server_is_back(member: FleetPlace) -> None:
    word = member.folder / "word"
    word.write_text("let-me-in\n")
    with web(member.repo) as (url, server):
        server.status["PUT"] = 503
        with pytest.raises(InputOutputError, match="could not be sent") as caught:
            tell(member.root, member.folder / "out", f"{url}/up", token=word, sleep=lambda seconds: None)
        assert "kept in ROOT/fleet/status.json" in str(caught.value.next_step) and len(server.asked) == 6
        assert (member.root / "fleet" / "status.json").is_file()
        server.status["PUT"] = 403
        with pytest.raises(InputOutputError, match="refuses this device"):
            tell(member.root, member.folder / "out", f"{url}/up", sleep=lambda seconds: None)
        del server.status["PUT"]
        done = tell(member.root, member.folder / "out", f"{url}/up", token=word)
        assert server.asked[-1] == ("/up/clinic-1.status.json", "Bearer let-me-in")
        assert unseal(server.put["/up/clinic-1.status.json"], [box_key(member.root)[1]])[0] == done.summary


@pytest.mark.parametrize("to", ["http://example.org/x", "ftp://example.org", "https://me:word@example.org/"])
def test_it_goes_by_https_alone(member: FleetPlace, to: str) -> None:
    with pytest.raises(UsageError):
        tell(member.root, member.folder / "out", to)


def test_a_server_whose_certificate_nobody_vouches_for_gets_nothing(member: FleetPlace) -> None:
    make(member.folder / "tls", "authority", "server")
    with web(member.repo) as (url, server):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(member.folder / "tls" / "server.pem", member.folder / "tls" / "server.key")
        server.wrap(context)
        with pytest.raises(InputOutputError, match="could not be sent"):
            tell(member.root, member.folder / "out", url.replace("http:", "https:"), sleep=lambda seconds: None)
        assert server.put == {}


def test_a_device_without_a_name(fleet: FleetPlace) -> None:
    with pytest.raises(GateRefused, match="trusts no repository yet"):
        tell(fleet.root, fleet.folder / "out")


def test_every_string_is_a_code(member: FleetPlace) -> None:
    """By construction: a name of a patient fits no pattern of what could be made to hold one."""
    summary = summarise(member.root, member.folder / "out", 1).model_dump()
    for field, value in (("box", "Meier Hans"), ("troubles", [CANARY]), ("written", "1950-01-02"), ("keys", [CANARY])):
        with pytest.raises(ValidationError):
            Summary.model_validate({**summary, field: value})
    counts = {"running": True, "pending": 0, "oldest_pending_seconds": None, "seconds_per_image": None, "disk_free": 1}
    for key in ("Meier Hans", "done meier", "refused 1950-01-02"):
        with pytest.raises(ValidationError):
            ScannerCounts.model_validate({**counts, "provider": "CPU", "results": {key: 1}})
    assert set(TROUBLES) == set(TroubleCode.__args__)  # type: ignore[attr-defined]


def test_nothing_installed_and_damage_are_told(fleet: FleetPlace) -> None:
    fleet.join()
    assert summarise(fleet.root, fleet.folder / "out", 1).troubles == ["NOTHING_INSTALLED", "NO_SCANNER"]
    fleet.publish("1")
    fleet.install()
    (fleet.root / "current" / "models" / "fp32.onnx").write_bytes(b"x")
    assert "DAMAGED" in summarise(fleet.root, fleet.folder / "out", 2).troubles
