"""Attacks that TUF names (specification, 1.5.2), tried on a device: what was active stays, and nothing new is kept.

The repository is made with python-tuf's Metadata API, as its own repository simulator does it; an attacker has the web
server or the stick, and in some tests keys.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bundles import make_key, write_tiny
from fleets import FleetPlace, web
from tuf.api.metadata import Metadata, TargetFile, Targets
from tuf.api.serialization.json import JSONSerializer

from edgedx.core.bundle.signing import read_public
from edgedx.core.errors import EdgedxError, GateRefused, InputOutputError
from edgedx.core.files import sha256_bytes
from edgedx.device.install.active import open_any
from edgedx.lab.fleet.keys import Keyring, KeySigner, tuf_key
from edgedx.lab.fleet.publish import publish
from edgedx.lab.fleet.repository import open_repository
from edgedx.lab.fleet.rotate import rotate


def _refused(fleet: FleetPlace, where: Path | str, says: str, error: type[EdgedxError] = GateRefused) -> None:
    before = open_any(fleet.root).digest
    with pytest.raises(error, match=says) as caught:
        fleet.install(where)
    assert caught.value.next_step, "says what to do"
    assert open_any(fleet.root).digest == before
    assert not list((fleet.root / "fleet").rglob("*.edgedx"))


def _newest(folder: Path, role: str) -> Path:
    return max((folder / "metadata").glob(f"*.{role}.json"), key=lambda path: int(path.name.split(".")[0]))


def _edit(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    document = json.loads(path.read_bytes())
    change(document["signed"])
    path.write_text(json.dumps(document))


def test_rollback_to_a_state_that_was_seen_before(member: FleetPlace) -> None:
    """Timestamp, snapshot and releases of yesterday, all of them truly signed."""
    old = member.stick("old")
    member.publish("3")
    member.install()
    _refused(member, old, "is older")


def test_rollback_behind_a_new_timestamp(member: FleetPlace) -> None:
    """Whoever holds the online keys signs a new snapshot of an old list of releases."""
    stick = member.stick()
    member.install(stick)
    repository = open_repository(stick)
    old = Metadata[Targets].from_file(str(stick / "metadata" / "2.releases.json"))
    repository.meta["releases"] = old
    repository.dirty |= {"snapshot", "timestamp"}
    repository.save(Keyring([member.keys / "online"]))
    _refused(member, stick, "older in a part")


def test_freeze_at_a_state_without_the_new_release(member: FleetPlace) -> None:
    """The attacker goes on showing the same, truly signed state: that ends when it expires."""
    frozen = member.stick()
    member.install(frozen)
    member.later(89)
    assert member.install(frozen).outcome == "current"
    member.later(2)
    _refused(member, frozen, "stale")


@pytest.mark.parametrize("role", ["snapshot", "releases"])
def test_mix_and_match_of_truly_signed_files(member: FleetPlace, role: str) -> None:
    """An older file under the name of the newest."""
    stick = member.stick()
    newest = _newest(stick, role)
    shutil.copy(newest.with_name(f"{int(newest.name.split('.')[0]) - 1}.{role}.json"), newest)
    _refused(member, stick, "mixes files of different days")


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "releases"])
def test_endless_metadata(member: FleetPlace, role: str) -> None:
    with web(member.repo) as (url, server):
        server.endless = {
            "root": ("/2.root.json",),
            "timestamp": ("/timestamp.json",),
            "snapshot": (".snapshot.json",),
            "releases": (".releases.json",),
        }[role]
        _refused(member, url, "without end")
        assert server.sent < 16 << 20


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "releases", "targets"])
def test_a_changed_byte_in_any_metadata(member: FleetPlace, role: str) -> None:
    stick = member.stick()
    path = stick / "metadata" / "timestamp.json" if role == "timestamp" else _newest(stick, role)
    if role == "root":
        shutil.copy(path, path.with_name("2.root.json"))
        _edit(path.with_name("2.root.json"), lambda signed: signed.update(version=2))
    else:
        _edit(path, lambda signed: signed.update(expires="2099-01-01T00:00:00Z"))
    if role == "targets":  # the device has it, whole, from before: it does not ask again
        assert member.install(stick).outcome == "installed"
        return
    _refused(member, stick, "not signed by enough|mixes files|without end")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"signed": 1, "signatures": []}', "\x00" * 300, "{" * 3000])
def test_damaged_metadata(member: FleetPlace, text: str) -> None:
    stick = member.stick()
    (stick / "metadata" / "timestamp.json").write_text(text)
    _refused(member, stick, "is no metadata", InputOutputError)


@pytest.mark.parametrize("gone", ["timestamp", "snapshot", "releases"])
def test_missing_metadata(member: FleetPlace, gone: str) -> None:
    stick = member.stick()
    (stick / "metadata" / "timestamp.json" if gone == "timestamp" else _newest(stick, gone)).unlink()
    _refused(member, stick, "not whole", InputOutputError)


def _sign_releases(folder: Path, change: Callable[[Targets], None], key: Any, online: Path) -> None:
    """New releases, signed by `key`, in a snapshot and timestamp that are truly signed."""
    repository = open_repository(folder)
    change(repository.releases)
    metadata = repository.meta["releases"]
    metadata.signed.version += 1
    metadata.sign(KeySigner(key))
    name = folder / "metadata" / f"{metadata.signed.version}.releases.json"
    name.write_bytes(metadata.to_bytes(JSONSerializer(compact=True)))
    verifies, repository._verifies = repository._verifies, lambda role: role == "releases" or verifies(role)  # type: ignore[method-assign]
    repository.dirty |= {"snapshot", "timestamp"}
    repository.save(Keyring([online]))


def _evil(
    folder: Path, key: Any, path: str = "bundles/tiny-9-laptop.edgedx", **facts: Any
) -> Callable[[Targets], None]:
    """A bundle of version 9, made and signed by the attacker."""
    bundle = write_tiny(folder / "evil.edgedx", version="9", keys=[key])
    data = (folder / "evil.edgedx").read_bytes()
    custom = {"name": "tiny", "version": "9", "profile": "laptop", "digest": bundle.digest, "ring": 100, **facts}
    target = TargetFile(len(data), {"sha256": sha256_bytes(data)}, path, {"custom": {"edgedx": custom}})

    def change(releases: Targets) -> None:
        releases.targets[path] = target

    return change


def _put(stick: Path, folder: Path) -> None:
    data = (folder / "evil.edgedx").read_bytes()
    name = stick / "targets" / "bundles" / f"{sha256_bytes(data)}.tiny-9-laptop.edgedx"
    name.write_bytes(data)


def test_with_the_online_keys_alone_nothing_can_be_published(member: FleetPlace) -> None:
    stick, attacker = member.stick(), make_key(member.folder, "attacker")
    change = _evil(member.folder, attacker)
    _put(stick, member.folder)
    _sign_releases(stick, change, attacker, member.keys / "online")
    _refused(member, stick, "not signed by enough")


def test_a_stolen_release_key_can_publish_until_it_is_taken_away(member: FleetPlace) -> None:
    """With it and the online keys all can be published; after the rotation, nothing that it has signed is taken."""
    stolen, stick = member.release, member.stick()
    change = _evil(member.folder, stolen)
    new = member.new_key("release-2")
    rotate(member.repo, "releases", member.all_keys, add=[new], remove=[stolen.public.id])
    member.install()
    after = member.stick("after")
    _put(after, member.folder)
    _sign_releases(after, change, stolen, member.keys / "online")
    _refused(member, after, "not signed by enough")
    _put(stick, member.folder)
    _sign_releases(stick, change, stolen, member.keys / "online")
    _refused(member, stick, "older")


def test_the_bundle_itself_must_be_signed_by_a_pinned_key_too(member: FleetPlace) -> None:
    """Second line: keys of the repository are stolen, and the key that the device has pinned is another one."""
    attacker = make_key(member.folder, "attacker")
    write_tiny(member.folder / "9.edgedx", version="9", keys=[attacker])
    publish(member.repo, member.folder / "9.edgedx", member.ring, ring=100)
    before = open_any(member.root).digest
    with pytest.raises(GateRefused, match="trusts only"):
        member.install()
    assert open_any(member.root).digest == before


def test_stolen_online_keys_cannot_lock_the_fleet_out_for_good(member: FleetPlace) -> None:
    """Fast-forward: the thief signs number 1,000,000; with both keys taken away, low numbers count again."""
    stick = member.stick()
    repository = open_repository(stick)
    for role in ("snapshot", "timestamp"):
        repository.meta[role].signed.version = 1_000_000
    repository.dirty |= {"snapshot", "timestamp"}
    repository.save(Keyring([member.keys / "online"]))
    member.install(stick)
    member.publish("3")
    _refused(member, member.repo, "is older")
    for role in ("snapshot", "timestamp"):
        new = member.new_key(f"{role}-2")
        rotate(member.repo, role, member.all_keys, add=[new], remove=[member.id_of(f"online/{role}")])
    assert member.install().outcome == "installed"


def test_one_root_key_of_two_changes_nothing(member: FleetPlace) -> None:
    """One stolen root key makes a root of its own: the device does not follow it."""
    stick, thief = member.stick(), member.new_key("thief")
    repository = open_repository(stick)
    metadata = Metadata.from_bytes(repository.meta["root"].to_bytes())
    metadata.signed.version = 2
    metadata.signed.add_key(tuf_key(read_public(thief)), "root")
    metadata.signed.roles["root"].threshold = 1
    metadata.signatures.clear()
    for signer in Keyring([member.keys / "offline" / "root-1.key", member.keys / "more"]).signers(
        [member.id_of("offline/root-1"), member.id_of("more/thief")]
    ):
        metadata.sign(signer, append=True)
    (stick / "metadata" / "2.root.json").write_bytes(metadata.to_bytes())
    _refused(member, stick, "not signed by enough")


@pytest.mark.parametrize(
    "path", ["bundles/../../x.edgedx", "bundles/a/b.edgedx", "other/x.edgedx", "bundles/.x.edgedx", "bundles/x.sh"]
)
def test_an_arbitrary_path_is_none_of_ours(member: FleetPlace, path: str) -> None:
    """The release key signs a path that it was not given, or that is no bundle's."""
    stick = member.stick()
    _sign_releases(stick, _evil(member.folder, member.release, path), member.release, member.keys / "online")
    before = set(member.folder.rglob("*"))
    try:
        assert member.install(stick).release.facts.version == "2", "what is outside of its paths is not seen at all"
    except GateRefused as error:
        assert "no bundle that" in error.message
    assert not [one for one in set(member.folder.rglob("*")) - before if "device" not in one.parts]


@pytest.mark.parametrize("facts", [{"version": "10"}, {"name": "other"}, {"digest": "0" * 64}, {"profile": "x86-avx2"}])
def test_a_bundle_under_another_name_or_version(member: FleetPlace, facts: dict[str, str]) -> None:
    """The ring and the order of versions were decided on what the metadata say: the file must say the same."""
    stick = member.stick()
    _sign_releases(stick, _evil(member.folder, member.release, **facts), member.release, member.keys / "online")
    _put(stick, member.folder)
    before = open_any(member.root).digest
    options = {key: value for key, value in facts.items() if key in ("name", "profile")}
    with pytest.raises(GateRefused, match="the repository calls it"):
        member.install(stick, **options)
    assert open_any(member.root).digest == before


@pytest.mark.parametrize("facts", [{"ring": 101}, {"version": "a"}, {"extra": 1}, {"name": "../x"}, {"digest": None}])
def test_facts_that_are_none(member: FleetPlace, facts: dict[str, Any]) -> None:
    stick = member.stick()
    _sign_releases(stick, _evil(member.folder, member.release, **facts), member.release, member.keys / "online")
    _refused(member, stick, "no bundle that `edgedx fleet publish`")


@pytest.mark.parametrize("how", ["longer", "shorter", "other"])
def test_a_bundle_of_another_size_or_content(member: FleetPlace, how: str) -> None:
    stick = member.stick()
    file = next((stick / "targets" / "bundles").glob("*tiny-2-*"))
    data = file.read_bytes()
    file.write_bytes({"longer": data + b"x", "shorter": data[:-1], "other": data[:-1] + b"x"}[how])
    says = {"longer": "more than", "shorter": "ended too early", "other": "another hash"}[how]
    _refused(member, stick, says, EdgedxError)


def test_whoever_may_write_to_the_devices_folder_is_found_out(member: FleetPlace) -> None:
    for name in ("fleet", "fleet/root.json", "fleet/metadata"):
        mode = (member.root / name).stat().st_mode
        (member.root / name).chmod(mode | 0o002)
        with pytest.raises(GateRefused, match="can be written by everybody"):
            member.install()
        (member.root / name).chmod(mode)
    assert member.install().outcome == "installed"


def test_expired_releases_alone(member: FleetPlace) -> None:
    """Online keys can keep a repository looking fresh; the release key's word ends after a year all the same."""
    member.later(366)
    repository = open_repository(member.repo)
    repository.dirty |= {"snapshot", "timestamp"}
    repository.save(Keyring([member.keys / "online"]), now=member.now + timedelta(days=1))
    _refused(member, member.repo, "list of releases was to be signed anew until 20")
