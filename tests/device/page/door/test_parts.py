"""A form with files, in whatever pieces it comes; and what a file is on its way to the inbox."""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from page_process import multipart

from edgedx.core.errors import StorageError
from edgedx.device.page.door.incoming import Arriving, remove_left
from edgedx.device.page.door.parts import Field, FileBegins, FileEnds, NoForm, Part, Piece, parts
from edgedx.device.scanner.decide import ignored_entry

TYPE = "multipart/form-data; boundary=edge"


def _read(body: bytes, step: int, kind: str = TYPE) -> list[Part]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(body), step):
            yield body[start : start + step]

    async def work() -> list[Part]:
        return [part async for part in parts(kind, pieces())]

    return asyncio.run(work())


@pytest.mark.parametrize("step", [1, 7, 64, 1 << 16])
def test_pieces_of_any_size_are_the_same_form(step: int) -> None:
    files = [b"DICM" * 20 + b"\r\n--edg", b"", bytes(range(256))]
    seen = _read(multipart("token", *files, names=("../../etc/passwd", "b", 'c"')), step)
    assert seen[0] == Field("csrf", "token")
    assert [part for part in seen if isinstance(part, FileBegins)] == [FileBegins(False)] * 3
    whole, got = [], b""
    for part in seen[1:]:
        if isinstance(part, Piece):
            got += part.data
        elif isinstance(part, FileEnds):
            whole.append(got)
            got = b""
    assert whole == files


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (multipart("t", b"abc")[:-12], TYPE),
        (b"csrf=t", TYPE),
        (b"", TYPE),
        (multipart("t"), "application/x-www-form-urlencoded"),
        (multipart("t"), "multipart/form-data"),
        (multipart("t" * 10_000), TYPE),
        (b"--edge\r\n" + b"a" * 20_000, TYPE),
        (b"--edge\r\n" + b"X: y\r\n" * 100 + b"\r\n", TYPE),
    ],
    ids=["cut", "no form", "empty", "urlencoded", "no boundary", "long field", "long head", "many heads"],
)
def test_what_is_no_whole_form_is_refused(body: bytes, kind: str) -> None:
    with pytest.raises(NoForm):
        _read(body, 64, kind)


def test_a_file_has_a_name_of_ours_when_it_is_whole(tmp_path: Path) -> None:
    content = b"\0" * 128 + b"DICM" + os.urandom(3000)
    file = Arriving(tmp_path, floor=0)
    file.write(content[:131])
    (on_its_way,) = tmp_path.iterdir()
    assert ignored_entry(on_its_way.name), "the scanner passes over it"
    file.write(content[131:])
    assert file.finish() == hashlib.sha256(content).hexdigest()
    file.discard()
    (whole,) = tmp_path.iterdir()
    assert whole.read_bytes() == content and whole.suffix == ".dcm" and not ignored_entry(whole.name)


def test_a_file_that_does_not_end_leaves_nothing(tmp_path: Path) -> None:
    file = Arriving(tmp_path, floor=0)
    file.write(b"half")
    file.discard()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(small_disk: Path) -> None:
    file = Arriving(small_disk, floor=0)
    with pytest.raises(StorageError, match="space"):
        for _ in range(3):
            file.write(os.urandom(1 << 19))
    file.discard()
    assert list(small_disk.iterdir()) == []
    with pytest.raises(StorageError, match="full"):
        Arriving(small_disk, floor=2 << 20)


def test_what_a_killed_page_left_is_removed_when_it_is_old(tmp_path: Path) -> None:
    for name in (".page-old.part", ".page-new.part", "page-whole.dcm", ".other.part"):
        (tmp_path / name).write_bytes(b"x")
    hours_ago = time.time() - 7200
    for name in (".page-old.part", "page-whole.dcm", ".other.part"):
        os.utime(tmp_path / name, (hours_ago, hours_ago))
    remove_left(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other.part", ".page-new.part", "page-whole.dcm"]
