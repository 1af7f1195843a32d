"""A bundle over a bad line: it goes on where it was cut, and is never half, longer or another than was signed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fleets import web

from edgedx.core.errors import GateRefused, InputOutputError
from edgedx.core.files import sha256_bytes
from edgedx.device.fleet.fetch import fetch_release
from edgedx.device.fleet.source import ATTEMPTS, FolderSource, Interrupted, WebSource, source_of
from edgedx.device.fleet.terms import Facts, Release

DATA = np.random.default_rng(0).bytes(600_000)


def _release(data: bytes = DATA) -> Release:
    facts = Facts(name="chest", version="1", profile="x86-avx2", digest="0" * 64, ring=100)
    return Release(path="bundles/chest.edgedx", length=len(data), sha256=sha256_bytes(data), facts=facts)


def _repo(folder: Path, data: bytes = DATA, release: Release | None = None) -> Path:
    file = folder / "repo" / (release or _release()).address
    file.parent.mkdir(parents=True)
    file.write_bytes(data)
    return folder / "repo"


def _pauses() -> tuple[list[float], object]:
    slept: list[float] = []
    return slept, slept.append


def test_cuts_cost_no_byte_twice(tmp_path: Path) -> None:
    slept, sleep = _pauses()
    with web(_repo(tmp_path)) as (url, server):
        server.cut_after = 100_000
        got = fetch_release(WebSource(url), _release(), tmp_path / "got", sleep=sleep)  # type: ignore[arg-type]
        assert got.read_bytes() == DATA
        assert [asked for _, asked in server.asked] == ["", *(f"bytes={n}00000-" for n in range(1, 6))]
        assert server.sent == len(DATA) and len(slept) == 5 and max(slept) <= 1.0
    assert [path.name for path in got.parent.iterdir()] == [got.name]


def test_a_server_without_ranges_is_read_from_the_start_and_nothing_is_written_twice(tmp_path: Path) -> None:
    with web(_repo(tmp_path)) as (url, server):
        server.ranges, server.cut_after = False, 400_000
        with pytest.raises(InputOutputError, match="400000 of 600000 bytes .* are kept"):
            fetch_release(WebSource(url), _release(), tmp_path / "got", sleep=lambda seconds: None)
        server.cut_after = None
        assert fetch_release(WebSource(url), _release(), tmp_path / "got").read_bytes() == DATA


def test_a_line_that_is_gone_says_how_much_has_come_and_the_next_call_goes_on(tmp_path: Path) -> None:
    slept, sleep = _pauses()
    repo = _repo(tmp_path)
    with web(repo) as (url, server):
        server.cut_after = 250_000

        class Dying(WebSource):
            def open(self, path: str, offset: int = 0):  # type: ignore[no-untyped-def]
                if offset:
                    raise Interrupted("no connection")
                return super().open(path, offset)

        with pytest.raises(InputOutputError, match="no connection; 250000 of 600000 bytes") as caught:
            fetch_release(Dying(url), _release(), tmp_path / "got", sleep=sleep)  # type: ignore[arg-type]
        assert "goes on where this ended" in str(caught.value.next_step) and len(slept) == ATTEMPTS - 1
        assert (tmp_path / "got" / f"{_release().sha256}.part").stat().st_size == 250_000
        server.cut_after = None
        fetch_release(WebSource(url), _release(), tmp_path / "got")
        assert server.asked[-1][1] == "bytes=250000-" and server.sent == len(DATA)


@pytest.mark.parametrize("kind", ["folder", "web"])
def test_another_content_of_the_same_size_is_refused_and_not_kept(tmp_path: Path, kind: str) -> None:
    other = bytes(DATA[:-1] + b"x")
    repo = _repo(tmp_path, other)
    with web(repo) as (url, _):
        source = WebSource(url) if kind == "web" else FolderSource(repo)
        with pytest.raises(GateRefused, match="another hash"):
            fetch_release(source, _release(), tmp_path / "got")
    assert list((tmp_path / "got").iterdir()) == []


@pytest.mark.parametrize("kind", ["folder", "web"])
def test_more_than_was_signed_is_cut_off(tmp_path: Path, kind: str) -> None:
    repo = _repo(tmp_path, DATA + b"more")
    with web(repo) as (url, _):
        source = WebSource(url) if kind == "web" else FolderSource(repo)
        with pytest.raises(GateRefused, match="more than the 600000 bytes"):
            fetch_release(source, _release(), tmp_path / "got")


def test_endless_data_end_after_what_was_signed(tmp_path: Path) -> None:
    with web(_repo(tmp_path)) as (url, server):
        server.endless = (".chest.edgedx",)
        with pytest.raises(GateRefused, match="sends more than"):
            fetch_release(WebSource(url), _release(), tmp_path / "got")
        time.sleep(0.1)
        assert server.sent < 16 << 20, "the connection was closed"
    assert sum(path.stat().st_size for path in (tmp_path / "got").iterdir()) == 0


def test_a_stick_that_holds_half_a_bundle(tmp_path: Path) -> None:
    repo = _repo(tmp_path, DATA[:1000])
    with pytest.raises(InputOutputError, match="ended too early; 1000 of 600000"):
        fetch_release(FolderSource(repo), _release(), tmp_path / "got")
    (repo / _release().address).unlink()
    with pytest.raises(InputOutputError, match="does not have its file"):
        fetch_release(FolderSource(repo), _release(), tmp_path / "got")


def test_a_part_that_was_changed_is_found_out_and_fetched_anew(tmp_path: Path) -> None:
    repo, got = _repo(tmp_path), tmp_path / "got"
    got.mkdir()
    (got / f"{_release().sha256}.part").write_bytes(b"\0" * 5000)
    (got / "old.part").write_bytes(b"of a release that is gone")
    assert fetch_release(FolderSource(repo), _release(), got).read_bytes() == DATA
    assert [path.name for path in got.iterdir()] == [f"{_release().sha256}.edgedx"]


def test_a_part_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    repo, got = _repo(tmp_path), tmp_path / "got"
    got.mkdir()
    (tmp_path / "victim").write_bytes(b"")
    (got / f"{_release().sha256}.part").symlink_to(tmp_path / "victim")
    with pytest.raises(InputOutputError):
        fetch_release(FolderSource(repo), _release(), got)
    assert (tmp_path / "victim").read_bytes() == b""


def test_a_fifo_in_the_place_of_a_file_is_not_waited_for(tmp_path: Path) -> None:
    repo = _repo(tmp_path)
    (repo / _release().address).unlink()
    os.mkfifo(repo / _release().address)
    with pytest.raises(InputOutputError):
        fetch_release(source_of_folder(repo), _release(), tmp_path / "got")


def source_of_folder(folder: Path) -> FolderSource:
    (folder / "metadata").mkdir(exist_ok=True)
    source = source_of(str(folder))
    assert isinstance(source, FolderSource)
    return source


def test_kill_9_in_the_middle_then_the_rest_alone_is_fetched(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib, time\n"
        "from edgedx.device.fleet.fetch import fetch_release\n"
        "from edgedx.device.fleet.source import WebSource\n"
        "from edgedx.device.fleet.terms import Release\n"
        "release = Release.model_validate_json(sys.argv[1])\n"
        "source = WebSource(sys.argv[2]); read = source._read\n"
        "source._read = lambda response: (time.sleep(0.01) or chunk for chunk in read(response))\n"
        "print('begun', flush=True); fetch_release(source, release, pathlib.Path(sys.argv[3]))\n"
    )
    with web(_repo(tmp_path)) as (url, server):
        words = [sys.executable, "-c", code, _release().model_dump_json(), url, str(tmp_path / "got")]
        part, kills = tmp_path / "got" / f"{_release().sha256}.part", 0
        while kills < 3:
            process = subprocess.Popen(words, stdout=subprocess.PIPE)
            assert process.stdout is not None and process.stdout.readline() == b"begun\n"
            before = part.stat().st_size if part.is_file() else 0
            end = time.monotonic() + 30
            while time.monotonic() < end and process.poll() is None:
                if part.is_file() and part.stat().st_size > before + 60_000:
                    break
                time.sleep(0.002)
            process.send_signal(signal.SIGKILL)
            process.wait()
            kills += 1
            assert DATA.startswith(part.read_bytes())
        size = part.stat().st_size
        assert 0 < size < len(DATA)
        assert fetch_release(WebSource(url), _release(), tmp_path / "got").read_bytes() == DATA
        assert server.asked[-1][1] == f"bytes={size}-"
