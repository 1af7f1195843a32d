"""`edgedx scan --sr --sc --pacs FILE`: objects beside the results, sent to a PACS or kept, and no result waits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bundles import dicom, write_tiny
from inprocess import edgedx
from pacs import free_port, stern

_PROGRAM = """
import sys
from edgedx.cli.app import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print("loaded:", sorted({"highdicom", "pynetdicom"} & set(sys.modules)))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "tiny.edgedx")
    dicom(tmp_path / "inbox/a.dcm", 1, name="CANARY^JANE")
    return tmp_path


def _arguments(folder: Path, port: int, *more: str) -> list[str]:
    (folder / "pacs.yaml").write_text(f"send: {{ae_title: STERN, host: 127.0.0.1, port: {port}}}")
    fixed = ["scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--once", "--settle", "0.1"]
    return [*fixed, "--sr", *more, "--pacs", "pacs.yaml"]


def test_a_pacs_gets_report_and_picture_and_the_scanner_loads_nothing_for_it(folder: Path) -> None:
    port = free_port()
    with stern(port) as scp:
        done = subprocess.run(
            [sys.executable, "-c", _PROGRAM, *_arguments(folder, port, "--sc")],
            cwd=folder,
            capture_output=True,
            text=True,
        )
    assert done.returncode == 0, done.stderr
    assert len(scp.took) == 2 and "sent 2, queued 0, failed 0" in done.stdout
    assert "loaded: []" in done.stdout and "CANARY" not in done.stdout + done.stderr
    assert not list((folder / "out/dicom").glob("*.dcm"))


@pytest.mark.slow
def test_a_dead_pacs_stops_no_result_and_what_waits_is_shown(folder: Path) -> None:
    done = edgedx(folder, *_arguments(folder, free_port()))
    assert done.returncode == 0, done.stderr
    assert "done 1" in done.stdout and "sent 0, queued 1, failed 0" in done.stdout
    assert len(list((folder / "out/dicom").glob("*-sr.dcm"))) == 1
    said = json.loads(edgedx(folder, "scan", "outbox", "out", "--json").stdout)
    assert (said["queued"], said["sent"], said["failures"]) == (1, 0, [])
    assert "queued    1" in edgedx(folder, "scan", "outbox", "out").stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--pacs", "pacs.yaml"), "--sr"),
        (("--sc", "--sr-refused"), "--sr"),
        (("--sr", "--pacs", "wrong.yaml"), "send.port"),
    ],
)
def test_what_makes_no_sense_is_2_before_anything_starts(folder: Path, arguments: tuple[str, ...], word: str) -> None:
    (folder / "pacs.yaml").write_text("send: {ae_title: A, host: 127.0.0.1, port: 1}")
    (folder / "wrong.yaml").write_text("send: {ae_title: A, host: 127.0.0.1}")
    done = edgedx(folder, "scan", "inbox", "--bundle", "tiny.edgedx", "--out", "out", "--once", *arguments)
    assert done.returncode == 2 and word in done.stderr, done.stderr
    assert not (folder / "out/dicom").exists()


def test_an_outbox_that_never_was_is_5(folder: Path) -> None:
    done = edgedx(folder, "scan", "outbox", "out")
    assert done.returncode == 5 and "next:" in done.stderr
