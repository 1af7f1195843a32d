"""``edgedx page``: what it prints, whom it lets in, and what it refuses."""

from __future__ import annotations

import io
import json
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from inprocess import Done, edgedx

from edgedx.core.files import write_text
from edgedx.device.page.door.people import People
from edgedx.device.page.serve import Address
from edgedx.device.page.settings import PageSettings
from edgedx.device.page.unit import page_unit


def _edgedx(*words: object, stdin: str = "", folder: Path | None = None) -> Done:
    with mock.patch.object(sys, "stdin", io.StringIO(stdin)):
        return edgedx(folder or Path.cwd(), *map(str, words))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_a_page_says_where_it_is_open_and_ends_in_order(out: Path) -> None:
    command = [sys.executable, "-m", "edgedx", "page", "--out", str(out), "--port", "0"]
    for end in (signal.SIGTERM, signal.SIGINT):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout is not None and process.stderr is not None
        line = process.stdout.readline()
        assert re.fullmatch(r"open +http://127\.0\.0\.1:\d+/\n", line), line
        process.send_signal(end)
        assert process.wait(20) == 0
        said = process.stderr.read()
        process.communicate()
        assert said.strip() == "Research software, not a medical device. Not for diagnosis."


def test_on_the_network_there_are_tls_and_pins(out: Path) -> None:
    command = [sys.executable, "-m", "edgedx", "page", "--out", str(out), "--port", "0", "--host", "0.0.0.0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        text += process.stdout.readline()
    opened = json.loads(text)
    process.terminate()
    assert process.wait(20) == 0
    process.communicate()
    assert all(url.startswith("https://") and "0.0.0.0" not in url for url in opened["urls"])
    assert re.fullmatch(r"([0-9A-F]{2}:){31}[0-9A-F]{2}", opened["fingerprint"]) and len(opened["code"]) == 10


def test_people_are_let_in_from_the_console(out: Path) -> None:
    done = _edgedx("page", "person", "Amina", "--out", out, "--role", "administrator", stdin="493817\n")
    assert (done.returncode, done.stdout) == (0, "administrator Amina\n"), done.stderr
    assert "493817" not in done.stdout + done.stderr
    done = _edgedx("page", "person", "amina", "--out", out, stdin="602214\n")
    assert done.stdout == "administrator amina\n", "a new PIN leaves the role"
    for words, stdin, code, told in (
        (["page", "person", "B", "--out", out, "--role", "boss"], "", 2, "reader, administrator"),
        (["page", "person", "B", "--out", out], "123456\n", 2, "6 to 32 digits"),
        (["page", "person", "B", "--out", out], "", 2, "6 to 32 digits"),
        (["page", "person", "amina", "--out", out, "--remove"], "", 2, "last administrator"),
        (["page", "person", "amina", "--out", out, "--role", "reader"], "602214\n", 2, "last administrator"),
        (["page", "person", "B", "--out", out, "--remove"], "", 2, "nobody has that name"),
        (["page", "person", "B", "--out", out / "none"], "", 5, "no folder"),
    ):
        done = _edgedx(*words, stdin=stdin)
        assert done.returncode == code and told in done.stderr, done.stderr
    assert [entry.name for entry in People(out).list()] == ["Amina"]
    assert "Amina" not in (out / "audit.jsonl").read_text()


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (["--out", "none"], 5, "no folder none"),
        (["--out", ".", "--inbox", "none"], 5, "no folder none"),
        (["--out", ".", "--root", "none"], 5, "no folder none"),
        (["--out", ".", "--host", "clinic"], 2, "is no address"),
        (["--out", ".", "--host", "192.0.2.1"], 5, "cannot be used"),
        (["--out", ".", "--language", "de"], 2, "one of en, fr, es, pt, sw, hi"),
        (["--out", ".", "--certificate", "a.pem"], 2, "go together"),
        (["--out", ".", "--certificate", "a.pem", "--certificate-key", "b.pem"], 2, "--https"),
        (["--out", ".", "--https", "--certificate", "a.pem", "--certificate-key", "b.pem"], 2, "belong together"),
        ([], 2, "--out"),
    ],
)
def test_what_cannot_be_served_is_said(tmp_path: Path, words: list[str], code: int, told: str) -> None:
    done = _edgedx("page", *words, folder=tmp_path)
    assert done.returncode == code and told in done.stderr, done.stderr
    assert list(tmp_path.iterdir()) == [], "nothing half-made"


def test_a_port_that_is_taken_is_said(out: Path) -> None:
    from edgedx.core.errors import InputOutputError
    from edgedx.device.page.door.limits import Limits
    from edgedx.device.page.door.listening import listen

    with listen("127.0.0.1", 0, Limits()) as taken, pytest.raises(InputOutputError, match="cannot be used"):
        listen("127.0.0.1", taken.getsockname()[1], Limits())


def test_the_unit_has_the_call_and_leaves_the_scanners_files_alone(out: Path) -> None:
    done = _edgedx("page", "unit", "--out", out, "--inbox", out, "--host", "0.0.0.0", "--name", "box.clinic")
    assert done.returncode == 0, done.stderr
    assert f"page --out {out} --inbox {out} --host 0.0.0.0 --name box.clinic" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ReadOnlyPaths=")]
    for name in ("results", "journal.sqlite", "quarantine"):
        assert f" -{out}/{name} " in f" {line.partition('=')[2]} "
    assert "answers.sqlite" not in line and "AF_INET6" in done.stdout and "After=edgedx-scan.service" in done.stdout
    wrong = _edgedx("page", "unit", "--out", out, "--port", "none")
    assert wrong.returncode == 2


def test_scan_unit_writes_both(tmp_path: Path, out: Path) -> None:
    words = ["scan", "unit", tmp_path / "in", "--bundle", tmp_path / "b.edgedx", "--out", out, "--write", tmp_path]
    done = _edgedx(*words, "--page-host", "0.0.0.0")
    assert done.returncode == 0, done.stderr
    scan, page = ((tmp_path / f"edgedx-{name}.service").read_text() for name in ("scan", "page"))
    assert "edgedx scan" in scan and "--write" not in scan and "--page-host" not in scan
    assert f"--out {out} --inbox {tmp_path}/in --host 0.0.0.0 --port 8443" in page


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze: apt-get install systemd")
@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_systemd_finds_the_page_safe_and_understands_its_unit(tmp_path: Path, host: str) -> None:
    settings = PageSettings(Path("/srv/my results"), Path("/srv/device"), Path("/srv/inbox"))
    text = page_unit(["--out", "/srv/my results"], settings, Address(host))
    path = tmp_path / "edgedx-page.service"
    write_text(path, re.sub("(?m)^ExecStart=.*", "ExecStart=/bin/true", text))
    command = ["systemd-analyze", "security", "--offline=true", "--threshold=30", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)
    assert "edgedx-page.service" not in done.stderr, done.stderr
    assert '"-/srv/my results/results"' in text
