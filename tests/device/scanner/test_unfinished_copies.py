"""A file that somebody still writes to is not read as if it were whole, and one that changes is read again.

Reported for paperless-ngx (#9277: consumed while still copied over SMB), muwire (#97), and by an attack on this one:
half an image answered ``done`` when the copier sets the size first and pauses.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
from bundles import dicom, picture, png, png_bytes
from places import OPTIONS, SETTLE, Place, passes

from edgedx.core.files import sha256_bytes
from edgedx.device.machine.writers import (
    HOLE_SECONDS,
    OPEN_SECONDS,
    ZERO_SECONDS,
    is_open_for_writing,
    seconds_to_wait,
)
from edgedx.device.scanner.decide import INCOMPLETE_SECONDS
from edgedx.dicom.writing.make import write_dicom

PATIENT = replace(OPTIONS, incomplete=INCOMPLETE_SECONDS)


def _whole(folder: Path) -> bytes:
    """An uncompressed image: half of it and zeros decode without a complaint."""
    write_dicom(folder / "whole.dcm", np.random.default_rng(5).integers(1, 4096, (64, 64), dtype=np.uint16), kind="CR",
                bits_stored=12)  # fmt: skip
    return (folder / "whole.dcm").read_bytes()


def _sized_first(stream: IO[bytes], content: bytes) -> None:
    stream.truncate(len(content))
    stream.write(content[: len(content) // 2])


def _zeros_first(stream: IO[bytes], content: bytes) -> None:
    stream.write(bytes(len(content)))
    stream.seek(0)
    stream.write(content[: len(content) // 2])


def _half(stream: IO[bytes], content: bytes) -> None:
    stream.write(content[: len(content) // 2])


def _nothing(stream: IO[bytes], content: bytes) -> None:
    pass


BEGIN = pytest.mark.parametrize("begin", [_sized_first, _zeros_first, _half, _nothing])


@BEGIN
@pytest.mark.parametrize("kind", ["dicom", "png"])
def test_a_copier_that_pauses_with_the_file_open_gets_one_answer_for_the_whole(
    place: Place, tmp_path: Path, begin: Callable[[IO[bytes], bytes], None], kind: str
) -> None:
    content = _whole(tmp_path) if kind == "dicom" else png_bytes(picture(1, size=200))
    with place.scanner(options=PATIENT) as scanner, (place.inbox / "slow").open("wb", buffering=0) as stream:
        begin(stream, content)
        passes(place, scanner, 120)
        assert scanner.journal.counts()["received"] == 0 and not place.results()
        stream.seek(len(content) // 2 if begin is not _nothing else 0)
        stream.write(content[stream.tell() :])
        stream.close()
        passes(place, scanner, 10)
    result = place.results()["slow"]
    assert (result["status"], result["source"]["sha256"]) == ("done", sha256_bytes(content))
    assert len(place.table()) == 1 and not list((place.out / "quarantine").iterdir())


@BEGIN
def test_a_copier_that_closes_the_file_while_it_pauses_gets_one_answer_for_the_whole(
    place: Place, tmp_path: Path, begin: Callable[[IO[bytes], bytes], None]
) -> None:
    content, path = _whole(tmp_path), place.inbox / "slow.dcm"
    with place.scanner(options=PATIENT) as scanner:
        with path.open("wb") as stream:
            begin(stream, content)
        passes(place, scanner, 25)
        assert path.is_file() and not place.results()
        path.write_bytes(content)
        passes(place, scanner, 30)
    assert {name: one["status"] for name, one in place.results().items()} == {"slow.dcm": "done"}
    assert not list((place.out / "quarantine").iterdir())


@pytest.mark.parametrize("content", [b"", png_bytes(picture(3))[:300]], ids=["empty", "cut"])
def test_patience_with_what_ends_early_grows_to_minutes_and_ends(place: Place, content: bytes) -> None:
    (place.inbox / "half.png").write_bytes(content)
    with place.scanner(options=PATIENT) as scanner:
        passes(place, scanner, 200)
        assert (place.inbox / "half.png").is_file() and not place.results()
        items = list(scanner.journal.items())
        assert [(item.status, item.attempts) for item in items] == [("received", 0)], "held against the file"
        passes(place, scanner, 200)
    assert place.results()["half.png"]["status"] == "quarantined" and not (place.inbox / "half.png").exists()


def test_what_is_not_cut_but_no_image_does_not_wait(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("Dear colleague")
    with place.scanner(options=PATIENT) as scanner:
        passes(place, scanner, 3 * SETTLE + 2)
    assert place.results()["letter.txt"]["status"] == "quarantined"


def test_an_image_whose_end_is_black_is_read_half_a_minute_later(place: Place) -> None:
    pixels = np.random.default_rng(1).integers(1, 4096, (64, 64), dtype=np.uint16)
    pixels[40:] = 0
    write_dicom(place.inbox / "black.dcm", pixels, kind="CR", bits_stored=12)
    png(place.inbox / "other.png")
    with place.scanner() as scanner:
        passes(place, scanner, ZERO_SECONDS - 2)
        assert set(place.results()) == {"other.png"} and scanner._intake.waiting() == {"black.dcm"}
        passes(place, scanner, 5)
    assert place.results()["black.dcm"]["status"] == "done"


def test_a_file_that_is_open_for_ever_is_read_in_the_end_but_not_moved(place: Place) -> None:
    content = png_bytes(picture(1))
    with place.scanner() as scanner, (place.inbox / "a.png").open("wb", buffering=0) as good:
        good.write(content)
        with (place.inbox / "b.txt").open("wb", buffering=0) as bad:
            bad.write(b"Dear colleague")
            passes(place, scanner, OPEN_SECONDS + 30)
            statuses = {name: one["status"] for name, one in place.results().items()}
            assert statuses == {"a.png": "done", "b.txt": "quarantined"}
            assert (place.inbox / "b.txt").is_file() and any("stay in the inbox" in one for one in scanner.troubles())
        passes(place, scanner, 100)
        assert not (place.inbox / "b.txt").exists() and scanner.troubles() == []
    assert len([path for path in (place.out / "quarantine").iterdir() if path.suffix == ".txt"]) == 1


def test_the_kernel_says_who_has_a_file_open(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 600)
    handle = os.open(path, os.O_RDONLY)
    assert is_open_for_writing(handle) is False and seconds_to_wait(path) == 0
    with path.open("rb"):
        assert is_open_for_writing(handle) is False
    with path.open("r+b"):
        assert is_open_for_writing(handle) is True and seconds_to_wait(path) == OPEN_SECONDS
    os.close(handle)
    os.truncate(path, 1 << 20)
    assert seconds_to_wait(path) == HOLE_SECONDS
    assert seconds_to_wait(path, wall=path.stat().st_ctime + HOLE_SECONDS + 1) == 0, "it has lain there as it is"
    path.write_bytes(b"x" + bytes(5000))
    assert seconds_to_wait(path) == ZERO_SECONDS
    assert seconds_to_wait(tmp_path / "absent") == 0


# What was put aside


def _append(path: Path, content: bytes) -> None:
    with path.open("ab") as stream:
        stream.write(content[path.stat().st_size :])


def _overwrite(path: Path, content: bytes) -> None:
    with path.open("r+b") as stream:
        stream.write(content)


def _replace_by_a_copy(path: Path, content: bytes) -> None:
    path.with_name("new").write_bytes(content)
    path.with_name("new").replace(path)


@pytest.mark.parametrize("write", [_append, _overwrite, _replace_by_a_copy])
@pytest.mark.parametrize("restart", [False, True])
def test_what_changes_in_quarantine_comes_back_by_itself(
    place: Place, write: Callable[[Path, bytes], None], restart: bool
) -> None:
    content = png_bytes(picture(7, size=60))
    (place.inbox / "sub").mkdir()
    (place.inbox / "sub/slow.png").write_bytes(content[:200])
    place.scan()
    (aside,) = (path for path in (place.out / "quarantine").iterdir() if path.suffix == ".png")
    with place.scanner() as scanner:
        if not restart:
            passes(place, scanner, 20)
        write(aside, content)
        for _ in range(60):
            passes(place, scanner, 1)
            scanner._care._threads.submit(int).result()  # what was begun beside the loop is over
    statuses = {name: one["status"] for name, one in place.results().items()}
    assert statuses == {"sub/slow.png": "quarantined", f"sub/{aside.name}": "done"}
    assert not list((place.out / "quarantine").iterdir())


def test_what_was_only_touched_in_quarantine_stays_there(place: Place) -> None:
    (place.inbox / "letter.txt").write_text("Dear colleague")
    place.scan()
    (aside,) = (path for path in (place.out / "quarantine").iterdir() if path.suffix == ".txt")
    aside.touch()
    with place.scanner() as scanner:
        for _ in range(60):
            passes(place, scanner, 1)
            scanner._care._threads.submit(int).result()
    assert aside.is_file() and len(place.results()) == 1 and not list(place.inbox.iterdir())


# Times that are put back


def _with_utime(path: Path, content: bytes) -> None:
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def _with_copystat(path: Path, content: bytes) -> None:
    shutil.copy2(path, path.with_name("kept.tmp"))
    path.write_bytes(content)
    shutil.copystat(path.with_name("kept.tmp"), path)


def _in_place(path: Path, content: bytes) -> None:
    before = path.stat()
    with path.open("r+b") as stream:
        stream.seek(-1, os.SEEK_END)
        stream.write(content[-1:])
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize("write", [_with_utime, _with_copystat, _in_place])
def test_a_file_that_is_written_anew_under_its_old_time_is_read_again(
    place: Place, tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    path, other = dicom(place.inbox / "a.dcm", 1), dicom(tmp_path / "b.dcm", 2).read_bytes()
    assert len(other) == path.stat().st_size
    with place.scanner() as scanner:
        passes(place, scanner, 10)
        before = path.stat()
        write(path, other)
        assert (path.stat().st_mtime_ns, path.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
        passes(place, scanner, 10)
        assert scanner.journal.counts()["done"] == 2
    results = {one["source"]["sha256"] for one in map(_json, (place.out / "results").glob("*.json"))}
    assert sha256_bytes(path.read_bytes()) in results and len(results) == 2


def _json(path: Path) -> dict[str, dict[str, str]]:
    import json

    return dict(json.loads(path.read_text()))
