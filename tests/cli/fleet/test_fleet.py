"""`edgedx fleet` and `edgedx install --from` from the command line: what they print and how they exit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundles import write_tiny
from inprocess import Done, edgedx

from edgedx.core.bundle.signing import load_signing_key, read_public


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with version 1 for all, and a device that trusts it."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    made = edgedx(tmp_path, "fleet", "init", "repo", "--keys", "keys")
    assert made.returncode == 0 and "2 of 3 root keys must sign" in made.stdout
    key = load_signing_key(tmp_path / "keys" / "release" / "release.key")
    for version in ("1", "2"):
        write_tiny(tmp_path / f"{version}.edgedx", version=version, keys=[key])
    assert _fleet(tmp_path, "publish", "repo", "1.edgedx", "--ring", "100").returncode == 0
    return tmp_path


def _fleet(folder: Path, *words: str, keys: tuple[str, ...] = ("keys/release", "keys/online")) -> Done:
    return edgedx(folder, "fleet", *words, *(part for key in keys for part in ("--keys", key)))


def _install(folder: Path, *options: str) -> Done:
    return edgedx(folder, "install", "--from", "repo", "--root", "device", *options)


def test_from_an_empty_folder_to_an_updated_device_and_the_page_about_it(folder: Path) -> None:
    refused = _install(folder)
    assert refused.returncode == 1 and "edgedx fleet trust ROOT.json --root device --box NAME" in refused.stderr
    trusted = edgedx(folder, "fleet", "trust", "repo/metadata/1.root.json", "--root", "device", "--box", "clinic-017")
    assert trusted.returncode == 0 and "2 of " in trusted.stdout and "71.3 %" in trusted.stdout
    assert edgedx(folder, "keys", "pin", "keys/release/release.pub", "--root", "device").returncode == 0
    first = _install(folder)
    assert first.returncode == 0 and "tiny 1 for laptop is newer than nothing" in first.stdout, first.stderr
    assert "on trial" in first.stdout and "good until" in first.stdout
    assert "edgedx fleet ring repo tiny-2 10" in _fleet(folder, "publish", "repo", "2.edgedx", "--ring", "1").stdout
    later = _install(folder)
    assert later.returncode == 0 and "out to 1 % of the devices, and this one stands at 71.3 %; 1 stays" in later.stdout
    assert "tiny 2 for laptop, to 100 % of the devices" in _fleet(folder, "ring", "repo", "tiny-2", "100").stdout
    said = json.loads(_install(folder, "--json").stdout)
    assert (said["outcome"], said["installed"]["name"], said["release"]["ring"]) == ("installed", "tiny 2", 100)
    told = edgedx(folder, "fleet", "status", "--root", "device", "--out", "results", "--to", ".")
    assert told.returncode == 0 and "number 1 of clinic-017: tiny 2" in told.stdout and "NO_SCANNER" in told.stdout
    report = edgedx(folder, "fleet", "report", ".", "--boxes", "device/fleet", "--repo", "repo", "--out", "p.html")
    assert report.returncode == 1 and "1 of 1 devices: 1 in trouble" in report.stdout
    assert (
        "no scanner has ever run" in report.stdout and (folder / "p.html").is_file() and (folder / "p.json").is_file()
    )


def test_a_repository_is_looked_at_and_kept_fresh(folder: Path) -> None:
    assert "tiny" in edgedx(folder, "fleet", "list", "repo").stdout
    assert "devices refuse copies of today after that" in _fleet(folder, "refresh", "repo", "--days", "5").stdout
    shown = edgedx(folder, "fleet", "list", "repo", "--json")
    roles = {one["role"]: one for one in json.loads(shown.stdout)["roles"]}
    assert roles["timestamp"]["days_left"] in (4, 5) and roles["root"]["threshold"] == 2
    assert "timestamp expires in" in shown.stderr
    withdrawn = _fleet(folder, "ring", "repo", "tiny-1", "0", "--json")
    assert json.loads(withdrawn.stdout)["releases"][0]["ring"] == 0


def test_two_people_change_a_root_key(folder: Path) -> None:
    edgedx(folder, "keys", "new", "root-4", "--out", "new")
    old = read_public(folder / "keys" / "offline" / "root-1.pub").id
    begun = _fleet(folder, "rotate", "repo", "root", "--add", "new/root-4.pub", "--revoke", old,
                   keys=("keys/offline/root-2.key", "new"))  # fmt: skip
    assert begun.returncode == 0 and "waits" in begun.stdout and "root-3" in begun.stdout
    assert "a change of keys waits" in edgedx(folder, "fleet", "list", "repo").stderr
    done = _fleet(folder, "sign", "repo", keys=("keys/offline/root-3.key",))
    assert done.returncode == 0 and "root 2" in done.stdout
    release = read_public(folder / "keys" / "release" / "release.pub").id
    lost = _fleet(
        folder, "rotate", "repo", "releases", "--add", "new/root-4.pub", "--revoke", release,
        keys=("keys/offline", "new", "keys/online"),
    )  # fmt: skip
    assert lost.returncode == 0 and "the release keys sign for tiny 1 for laptop" in lost.stdout, lost.stderr


def test_keys_that_are_not_there(folder: Path) -> None:
    done = _fleet(folder, "ring", "repo", "tiny-1", "10", keys=("keys/release",))
    assert (
        done.returncode == 2 and "snapshot needs 1 signatures" in done.stderr and "nothing was written" in done.stderr
    )


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["install", "--root", "device"], "give a bundle, or --from"),
        (["install", "1.edgedx", "--from", "repo", "--root", "device"], "and not both"),
        (["install", "1.edgedx", "--again", "--root", "device"], "go with --from"),
        (["install", "--from", "repo", "--allow-older", "--root", "device"], "takes no older"),
        (["fleet", "unit", "--root", "device", "--from", "repo", "--out", "x"], "go together"),
    ],
)
def test_calls_that_are_wrong(folder: Path, options: list[str], says: str) -> None:
    done = edgedx(folder, *options)
    assert done.returncode == 2 and says in done.stderr and "next:" in done.stderr


def test_units_are_printed(folder: Path) -> None:
    edgedx(folder, "fleet", "trust", "repo/metadata/1.root.json", "--root", "device", "--box", "clinic-017")
    done = edgedx(folder, "fleet", "unit", "--root", "device", "--from", "https://fleet.example.org")
    assert done.returncode == 0 and "Type=oneshot" in done.stdout and "https://fleet.example.org" in done.stdout
    assert "OnCalendar=" in edgedx(folder, "fleet", "unit", "--root", "device", "--from", "repo", "--timer").stdout


def test_without_python_tuf_the_extra_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "tuf.ngclient", None)
    done = edgedx(folder, "fleet", "list", "repo")
    assert done.returncode == 3 and 'pip install "edgedx[fleet]"' in done.stderr
