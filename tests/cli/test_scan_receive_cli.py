"""`edgedx scan --scp`: what storescu sends becomes a result, and what makes no sense is told before anything starts."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import dicom, write_tiny
from dcmtk import dcmtk
from inprocess import edgedx
from pacs import free_port, wait_for


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "tiny.edgedx")
    (tmp_path / "inbox").mkdir()
    return tmp_path


def _listens(port: int) -> bool:
    with socket.socket() as one:
        return one.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.skipif(dcmtk("storescu") is None, reason="Debian package dcmtk is absent")
def test_what_storescu_sends_becomes_one_result_each(folder: Path) -> None:
    port = str(free_port())
    files = [dicom(folder / f"{seed}.dcm", seed, name="CANARY^JANE") for seed in range(3)]
    scan = subprocess.Popen(
        [sys.executable, "-m", "edgedx", "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--settle", "0.1",
         "--interval", "0.1", "--scp", f"EDGEDX@127.0.0.1:{port}", "--calling-ae", "CT1", "--verbose", "--json"],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    scu = [str(dcmtk("storescu")), "-aet", "CT1", "-aec", "EDGEDX", "127.0.0.1", port]
    wait_for(lambda: _listens(int(port)) or scan.poll() is not None)
    for _ in range(2):  # and again
        subprocess.run([*scu, *files], check=True)
    wait_for(lambda: len(list((folder / "out/results").glob("*.json"))) == 3)
    scan.send_signal(signal.SIGTERM)
    said, told = scan.communicate(timeout=120)
    assert scan.returncode == 0 and "CANARY" not in told + said
    assert json.loads(said)["read_now"] == {"done": 3, "refused": 0, "quarantined": 0}
    results = [json.loads(path.read_text()) for path in (folder / "out/results").glob("*.json")]
    assert {result["source"]["name"] for result in results} == {path.name for path in (folder / "inbox").glob("*.dcm")}
    assert subprocess.run([*scu, files[0]], capture_output=True, check=False).returncode != 0, "it is gone"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--scp", "EDGEDX@11112"), "--calling-ae"),
        (("--scp", "11112", "--calling-ae", "CT1"), "AET@ADDRESS:PORT"),
        (("--calling-ae", "CT1"), "--scp"),
        (("--scp", "EDGEDX@11112", "--calling-ae", "CT1", "--tls-cert", "a.pem"), "--tls-ca"),
        (("--scp", "EDGEDX@11112", "--calling-ae", "CT1", "--once"), "--once"),
    ],
)
def test_what_makes_no_sense_is_2_before_anything_starts(folder: Path, arguments: tuple[str, ...], word: str) -> None:
    done = edgedx(folder, "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", *arguments)
    assert done.returncode == 2 and word in done.stderr and "next:" in done.stderr, done.stderr
    assert not (folder / "out").exists()


def test_the_unit_may_use_the_network_and_names_every_file_in_full(folder: Path) -> None:
    (folder / "keys").mkdir()
    done = edgedx(
        folder, "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--scp", "EDGEDX@11112",
        "--calling-ae", "*", "--tls-cert", "keys/a.pem", "--tls-key", "keys/a.key", "--tls-ca=keys/ca.pem",
        "--print-systemd",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "AF_INET6" in done.stdout and "PrivateNetwork" not in done.stdout
    for name in ("a.pem", "a.key", "ca.pem"):
        assert str(folder / "keys" / name) in done.stdout
    assert "--calling-ae *" in done.stdout
