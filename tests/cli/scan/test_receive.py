"""`edgedx scan --pacs` that receives: what storescu sends becomes a result, and nonsense stops before a start."""

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
    (folder / "pacs.yaml").write_text(f"receive: {{port: {port}, allow: [CT1]}}")
    files = [dicom(folder / f"{seed}.dcm", seed, name="CANARY^JANE") for seed in range(3)]
    scan = subprocess.Popen(
        [sys.executable, "-m", "edgedx", "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--settle", "0.1",
         "--interval", "0.1", "--pacs", "pacs.yaml", "--verbose", "--json"],
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
    ("content", "more", "word"),
    [
        ("receive: {port: 11112}", (), "pacs.yaml: receive.allow"),
        ("receive: {port: 11112, allow: [CT1], tls: {certificate: a.pem}}", (), "receive.tls"),
        ("receive: {port: 11112, allow: [CT1]}", ("--once",), "--once"),
        ("recieve: {port: 11112, allow: [CT1]}", (), "did you mean 'receive'"),
    ],
)
def test_what_makes_no_sense_is_2_before_anything_starts(
    folder: Path, content: str, more: tuple[str, ...], word: str
) -> None:
    (folder / "pacs.yaml").write_text(content)
    scan = ("scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--pacs", "pacs.yaml")
    done = edgedx(folder, *scan, *more)
    assert done.returncode == 2 and word in done.stderr and "next:" in done.stderr, done.stderr
    assert not (folder / "out").exists()


def test_the_unit_may_use_the_network_and_may_read_every_file_that_is_named(folder: Path) -> None:
    (folder / "keys").mkdir()
    (folder / "pacs.yaml").write_text(
        "receive: {port: 11112, allow: '*', tls: {ca: keys/ca.pem, certificate: keys/a.pem, key: keys/a.key}}"
    )
    done = edgedx(folder, "scan", "unit", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--pacs=pacs.yaml")
    assert done.returncode == 0, done.stderr
    assert "AF_INET6" in done.stdout and "PrivateNetwork" not in done.stdout
    assert f"--pacs={folder}/pacs.yaml" in done.stdout


def test_the_example_is_printed_and_a_file_is_checked_without_a_scanner(folder: Path) -> None:
    shown = edgedx(folder, "scan", "pacs")
    assert shown.returncode == 0 and "ae_title: EDGEDX" in shown.stdout
    (folder / "pacs.yaml").write_text(shown.stdout.replace("11112", str(free_port())))
    checked = edgedx(folder, "scan", "pacs", "pacs.yaml")
    assert checked.returncode == 0, checked.stderr
    assert "ORTHANC at 127.0.0.1, port 4242; without TLS" in checked.stdout and "from CT1, PACS" in checked.stdout
    assert checked.stdout.splitlines()[-1].endswith(
        "edgedx scan INBOX --bundle DIR --out OUT --sr --sc --pacs pacs.yaml"
    )
    (folder / "pacs.yaml").write_text("send: {ae_title: A, host: h, port: 1, tls: {ca: gone.pem}}")
    assert edgedx(folder, "scan", "pacs", "pacs.yaml").returncode == 5
    assert "receive.tls.key" in edgedx(folder, "scan", "pacs", "--fields").stdout
