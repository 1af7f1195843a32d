"""`edgedx keys`, `install`, `rollback` and `status` from the command line: what they print and how they exit."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest
from bundles import MODEL, golden, model, png, write_tiny
from inprocess import Done, edgedx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two keys, and versions 1 and 2 that the first has signed."""
    for name in ("release", "next"):
        assert edgedx(tmp_path, "keys", "new", name, "--out", "keys").returncode == 0
    for version in ("1", "2"):
        write_tiny(tmp_path / f"{version}.edgedx", version=version)
        assert edgedx(tmp_path, "keys", "sign", f"{version}.edgedx", "--key", "keys/release.key").returncode == 0
    return tmp_path


def _pin(folder: Path, name: str = "release") -> Done:
    return edgedx(folder, "keys", "pin", f"keys/{name}.pub", "--root", "device")


def _install(folder: Path, name: str, *options: str) -> Done:
    return edgedx(folder, "install", name, "--root", "device", *options)


def _status(folder: Path) -> dict:  # type: ignore[type-arg]
    done = edgedx(folder, "status", "--root", "device", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_whole_life_of_a_device(folder: Path) -> None:
    """From nothing over an upgrade to a rollback, as an operator sees it."""
    assert _install(folder, "1.edgedx").returncode == 1
    assert "1 trusted now" in _pin(folder).stdout
    first = _install(folder, "1.edgedx")
    assert first.returncode == 0 and "signed by release (" in first.stdout and "on trial" in first.stdout
    assert "one key only" in first.stderr  # losing it would mean visiting the device
    assert "2 trusted now" in _pin(folder, "next").stdout
    second = _install(folder, "2.edgedx", "--json")
    said = json.loads(second.stdout)
    assert (said["name"], said["slot"], said["already"], second.stderr) == ("tiny 2", "b", False, "")
    back = edgedx(folder, "rollback", "--root", "device")
    assert back.returncode == 0 and "tiny 1" in back.stdout and "tiny 2" in back.stdout, back.stderr
    older = _install(folder, "1.edgedx")
    assert older.returncode == 1 and "older than 2" in older.stderr and "--allow-older" in older.stderr
    status = _status(folder)
    assert status["active"]["version"] == "1" and status["other"]["version"] == "2"
    assert status["ratchet"] == {"tiny": "2"} and [key["name"] for key in status["keys"]] == ["next", "release"]
    assert [event["action"] for event in status["history"]] == ["install", "install", "rollback"]
    again = json.loads(edgedx(folder, "rollback", "--root", "device", "--json").stdout)
    assert again["name"] == "tiny 2" and again["current"] == "device/current"


def test_status_for_people_names_what_matters(folder: Path) -> None:
    _pin(folder)
    for version in ("1", "2"):
        _install(folder, f"{version}.edgedx")
    done = edgedx(folder, "status", "--root", "device")
    for word in (
        "tiny 2, fp32, slot b",
        "tiny 1, fp32, slot a",
        "signed by release",
        "no image answered yet",
        "below version",
    ):
        assert word in done.stdout, word
    assert done.returncode == 0 and "only one key" in done.stderr


def test_the_scanner_confirms_what_was_installed_and_reverts_what_was_damaged(folder: Path) -> None:
    _pin(folder)
    for version in ("1", "2"):
        _install(folder, f"{version}.edgedx")
    png(folder / "inbox/a.png")
    scan = ("scan", "inbox", "--bundle", "device", "--out", "out", "--once", "--settle", "0.1", "--json")
    assert json.loads(edgedx(folder, *scan).stdout)["read_now"]["done"] == 1
    assert _status(folder)["trial_starts"] is None
    (folder / "device/slots/b" / MODEL).write_bytes(b"rotten")
    broken = edgedx(folder, "status", "--root", "device")
    assert broken.returncode == 5 and "DAMAGED" in broken.stdout
    png(folder / "inbox/b.png", 2)
    done = edgedx(folder, *scan)
    assert done.returncode == 0 and "slot b was left" in done.stderr and "slot a is active again" in done.stderr
    assert _status(folder)["active"]["version"] == "1"


def test_every_refusal_has_its_exit_code_and_a_next_step(folder: Path) -> None:
    _pin(folder)
    assert _install(folder, "2.edgedx").returncode == 0
    data = bytearray((folder / "2.edgedx").read_bytes())
    data[200] ^= 1
    (folder / "damaged.edgedx").write_bytes(data)
    write_tiny(folder / "unsigned.edgedx", version="3")
    write_tiny(folder / "golden.edgedx", version="3", samples=golden(model(), shift=0.5))
    write_tiny(folder / "jetson.edgedx", version="3", profile="orin-nano-8gb", target="jetson")
    for name in ("golden", "jetson"):
        assert edgedx(folder, "keys", "sign", f"{name}.edgedx", "--key", "keys/release.key").returncode == 0
    cases = {
        "damaged.edgedx": (5, "damaged"),
        "absent.edgedx": (5, "no such file"),
        "unsigned.edgedx": (1, "not signed"),
        "1.edgedx": (1, "older than 2"),
        "golden.edgedx": (1, "other values"),
        "jetson.edgedx": (2, "orin-nano-8gb"),
    }
    for name, (code, says) in cases.items():
        done = _install(folder, name)
        assert (done.returncode, done.stdout) == (code, ""), (name, done.stderr)
        assert says in done.stderr and "next:" in done.stderr, (name, done.stderr)
    assert _status(folder)["active"]["version"] == "2"


def test_an_unsigned_installation_says_so_whenever_it_can(folder: Path) -> None:
    write_tiny(folder / "u.edgedx")
    done = _install(folder, "u.edgedx", "--allow-unsigned")
    assert done.returncode == 0 and "UNSIGNED" in done.stderr
    status = edgedx(folder, "status", "--root", "device")
    assert "UNSIGNED" in status.stdout and "unsigned" in status.stderr
    assert "cannot be used any more" in _pin(folder).stderr  # and what to do about it
    assert edgedx(folder, "status", "--root", "device").returncode == 5


def test_a_new_key_is_secret_and_says_where_it_goes(tmp_path: Path) -> None:
    done = edgedx(tmp_path, "keys", "new", "release", "--json")
    said = json.loads(done.stdout)
    assert stat.S_IMODE((tmp_path / said["key"]).stat().st_mode) == 0o600
    assert said["id"] in edgedx(tmp_path, "keys", "pin", said["pub"], "--root", "device").stdout
    again = edgedx(tmp_path, "keys", "new", "release")
    assert again.returncode == 2 and "never overwritten" in again.stderr


def test_an_encrypted_key_takes_its_password_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tiny(tmp_path / "a.edgedx")
    monkeypatch.setenv("EDGEDX_KEY_PASSWORD", "correct horse")
    assert edgedx(tmp_path, "keys", "new", "release", "--password").returncode == 0
    assert edgedx(tmp_path, "keys", "sign", "a.edgedx", "--key", "release.key").returncode == 0
    monkeypatch.setenv("EDGEDX_KEY_PASSWORD", "wrong")
    assert edgedx(tmp_path, "keys", "sign", "a.edgedx", "--key", "release.key").returncode == 2
    monkeypatch.delenv("EDGEDX_KEY_PASSWORD")
    monkeypatch.setattr("os.isatty", lambda _: False)
    missing = edgedx(tmp_path, "keys", "sign", "a.edgedx", "--key", "release.key")
    assert missing.returncode == 2 and "EDGEDX_KEY_PASSWORD" in missing.stderr


def test_keys_are_listed_and_the_last_one_stays(folder: Path) -> None:
    empty = edgedx(folder, "keys", "list", "--root", "device")
    assert empty.returncode == 0 and "no key" in empty.stderr
    for name in ("release", "next"):
        _pin(folder, name)
    keys = json.loads(edgedx(folder, "keys", "list", "--root", "device", "--json").stdout)["keys"]
    first = edgedx(folder, "keys", "unpin", keys[0]["id"], "--root", "device", "--json")
    assert json.loads(first.stdout)["pinned"] == 1
    last = edgedx(folder, "keys", "unpin", keys[1]["id"], "--root", "device")
    assert last.returncode == 1 and "only key" in last.stderr


def test_a_status_of_nothing_is_told(tmp_path: Path) -> None:
    assert edgedx(tmp_path, "status", "--root", "absent").returncode == 5
    done = edgedx(tmp_path, "status", "--root", ".")
    assert done.returncode == 0 and "nothing" in done.stdout
    assert edgedx(tmp_path, "rollback", "--root", "device").returncode == 5
