"""Files are written whole or not at all, and names from strangers become names, never paths."""

from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from edgedx.core.errors import InputOutputError, StorageError
from edgedx.core.files import (
    atomic_write,
    canonical_json,
    read_json,
    safe_name,
    sha256_bytes,
    sha256_file,
    write_bytes,
    write_json,
    write_together,
)


def test_a_write_replaces_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "new/folder/a"
    write_bytes(path, b"old")
    write_bytes(path, b"new")
    assert path.read_bytes() == b"new" and os.listdir(path.parent) == ["a"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, failure: type[BaseException]
) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    with pytest.raises(failure), atomic_write(path) as stream:
        stream.write(b"half")
        raise failure
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_readers_see_the_old_content_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write_bytes(path, b"old")
    with atomic_write(path) as stream:
        stream.write(b"new")
        stream.flush()
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"


def test_content_is_synced_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = []
    sync, rename = os.fsync, os.replace

    def fsync(handle: int) -> None:
        order.append("sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync file")
        sync(handle)

    def replace(source: str, target: Path) -> None:
        order.append("rename")
        rename(source, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_bytes(tmp_path / "a", b"x")
    assert order == ["sync file", "rename", "sync folder"]


def test_files_that_are_written_together_are_each_synced_before_they_get_their_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    sync, rename = os.fsync, os.replace

    def fsync(handle: int) -> None:
        order.append("sync " + os.readlink(f"/proc/self/fd/{handle}"))
        sync(handle)

    def replace(source: str, target: Path) -> None:
        assert order[-1] == f"sync {source}"
        order.append("rename")
        rename(source, target)

    (tmp_path / "a").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "replace", replace)
    write_together(tmp_path, {"a": b"1", "b": b"", "c": b"3" * 100_000})
    assert order.count("rename") == 3 and order[-1] == f"sync {tmp_path}" and len(order) == 7
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"a": b"1", "b": b"", "c": b"3" * 100_000}


def test_a_sync_that_fails_leaves_what_was_synced_before_and_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [0, errno.ENOSPC]

    def fsync(handle: int) -> None:
        if error := left.pop(0):
            raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(StorageError, match="no space left"):
        write_together(tmp_path, {"a": b"1", "b": b"2", "c": b"3"})
    assert os.listdir(tmp_path) == ["a"]


def test_other_users_may_read_what_the_umask_lets_them(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_bytes(tmp_path / "a", b"x")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_full_disk_is_told_and_the_old_content_stays(small_disk: Path) -> None:
    path = small_disk / "a"
    write_bytes(path, b"old")
    with pytest.raises(StorageError, match="no space left") as caught:
        write_bytes(path, bytes(2 << 20))
    assert caught.value.next_step and "free space" in caught.value.next_step
    assert path.read_bytes() == b"old" and os.listdir(small_disk) == ["a"]
    write_bytes(path, bytes(500_000))  # and the disk has its space back


def test_a_read_only_disk_is_told(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    with pytest.raises(StorageError, match="cannot write"):
        write_bytes(small_disk / "a", b"x")


STRANGERS = ["", ".", "..", "../../etc/passwd", "/etc/passwd", ".bashrc", "a/b", "a\\b", "a\0b", "-rf", "x" * 500, "é",
             "a\nb", "CON:", "~", "$(reboot)", "..hidden", "-.-.a", "\udcff.png"]  # fmt: skip


@pytest.mark.parametrize("text", STRANGERS)
def test_a_strangers_name_is_one_visible_name(text: str) -> None:
    name = safe_name(text)
    assert 0 < len(name) <= 80 and name[0] not in ".-" and name.isascii()
    assert os.path.basename(name) == name and not set(name) & set("/\\\0\n $~:")


def test_a_plain_name_stays_as_it_is() -> None:
    assert safe_name("chest_2026-01.dcm") == "chest_2026-01.dcm"


def test_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    value = {"b": [1, 2.5, None], "a": "Röntgen"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value


def test_nan_is_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"a": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"{'a': 1}", b"\xff\xfe"])
def test_what_is_not_json_is_told_with_the_name_of_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.json").write_bytes(content)
    with pytest.raises(InputOutputError, match="settings.json is not JSON"):
        read_json(tmp_path / "settings.json")


def test_a_missing_json_file_is_told_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="absent.json"):
        read_json(tmp_path / "absent.json")
    with pytest.raises(InputOutputError):
        read_json(tmp_path)


def test_canonical_json_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_json({"b": 1, "a": {"d": 2, "c": 3}}) == b'{"a":{"c":3,"d":2},"b":1}'
    assert json.loads(canonical_json(["é"])) == ["é"]


def test_a_file_is_hashed_in_pieces_like_its_bytes(tmp_path: Path) -> None:
    data = os.urandom(10_000)
    (tmp_path / "a").write_bytes(data)
    assert sha256_file(tmp_path / "a", chunk=999) == sha256_bytes(data)
    with pytest.raises(InputOutputError, match="absent"):
        sha256_file(tmp_path / "absent")
