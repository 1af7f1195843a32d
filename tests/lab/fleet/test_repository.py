"""A repository: made, filled, kept fresh, and given other keys by people who are not in one room."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from bundles import model, write_tiny
from fleets import FleetPlace
from tuf.api.metadata import Metadata

from edgedx.core.bundle.signing import load_signing_key, new_key
from edgedx.core.errors import AlreadyExists, InputOutputError, UsageError
from edgedx.lab.fleet.keys import Keyring
from edgedx.lab.fleet.publish import contents, publish, refresh, set_ring
from edgedx.lab.fleet.rotate import rotate, sign_pending
from edgedx.lab.fleet.start import create


def _tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_keys_never_lie_in_what_is_published(fleet: FleetPlace, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="would be published"):
        create(tmp_path / "r", tmp_path / "r" / "keys")
    assert not (tmp_path / "r").exists()
    assert {path.suffix for path in fleet.repo.rglob("*") if path.is_file()} == {".json"}
    assert b"PRIVATE" not in b"".join(_tree(fleet.repo).values())
    for path in fleet.keys.rglob("*.key"):
        assert os.stat(path).st_mode & 0o777 == 0o600


def test_a_repository_is_made_once_and_keys_that_are_there_are_used(fleet: FleetPlace, tmp_path: Path) -> None:
    with pytest.raises(AlreadyExists):
        create(fleet.repo, fleet.keys)
    for keys, threshold in ((0, 1), (2, 3), (1, 0)):
        with pytest.raises(UsageError):
            create(tmp_path / "x", tmp_path / "k", root_keys=keys, threshold=threshold)
    create(tmp_path / "second", fleet.keys)
    ids = [
        Metadata.from_file(str(tmp_path / name / "metadata" / "1.root.json")).signed.keys for name in ("repo", "second")
    ]
    assert set(ids[0]) == set(ids[1])


def test_encrypted_keys_are_asked_for_when_they_are_needed(tmp_path: Path) -> None:
    asked: list[str] = []

    def load(path: Path):  # type: ignore[no-untyped-def]
        asked.append(path.stem)
        return load_signing_key(path, "secret")

    create(tmp_path / "repo", tmp_path / "keys", password="secret", load=load)
    assert b"ENCRYPTED" in (tmp_path / "keys" / "offline" / "root-1.key").read_bytes()
    asked.clear()
    refresh(tmp_path / "repo", Keyring([tmp_path / "keys" / "offline", tmp_path / "keys" / "online"], load))
    assert sorted(asked) == ["snapshot", "timestamp"]


def test_a_numbered_file_never_changes_and_old_ones_stay(fleet: FleetPlace) -> None:
    fleet.publish("1")
    before = _tree(fleet.repo)
    fleet.publish("2", ring=10)
    set_ring(fleet.repo, "tiny-2", 100, fleet.ring)
    refresh(fleet.repo, fleet.ring, days=30)
    after = _tree(fleet.repo)
    assert {name for name in before if after.get(name) != before[name]} == {"metadata/timestamp.json"}
    releases, roles, waits = contents(fleet.repo)
    assert [(one.facts.version, one.facts.ring) for one in releases] == [("1", 100), ("2", 100)] and not waits
    assert {one.role: one.days_left for one in roles}["timestamp"] in (29, 30)


@pytest.mark.parametrize("missing", ["release", "online"])
def test_without_a_key_nothing_is_written(fleet: FleetPlace, missing: str) -> None:
    fleet.publish("1")
    before = _tree(fleet.repo)
    there = Keyring([fleet.keys / name for name in ("offline", "release", "online") if name != missing])
    with pytest.raises(UsageError, match="needs 1 signatures of"):
        set_ring(fleet.repo, "tiny-1", 1, there)
    assert _tree(fleet.repo) == before


def test_a_kill_between_two_files_leaves_the_old_state_and_the_next_call_a_whole_one(
    fleet: FleetPlace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgedx.lab.fleet import repository

    fleet.join()
    fleet.publish("1")
    write, allowed = repository.write_bytes, 2

    def dying(path: Path, data: bytes) -> None:
        nonlocal allowed
        if allowed == 0:
            raise KeyboardInterrupt
        allowed -= 1
        write(path, data)

    monkeypatch.setattr(repository, "write_bytes", dying)
    with pytest.raises(KeyboardInterrupt):
        fleet.publish("2")
    monkeypatch.setattr(repository, "write_bytes", write)
    assert fleet.install().release.facts.version == "1"
    fleet.publish("2")
    assert fleet.install().release.facts.version == "2"


def test_a_version_has_one_content(fleet: FleetPlace) -> None:
    fleet.publish("1")
    fleet.publish("1", ring=50)
    with pytest.raises(AlreadyExists, match="with other content") as caught:
        fleet.publish("1", network=model(2.0))
    assert "raise the version" in str(caught.value.next_step)
    write_tiny(fleet.folder / "unsigned.edgedx", version="5")
    assert publish(fleet.repo, fleet.folder / "unsigned.edgedx", fleet.ring).signers == 0


def test_what_is_asked_wrongly(fleet: FleetPlace, tmp_path: Path) -> None:
    fleet.publish("1")
    for call, says in (
        (lambda: set_ring(fleet.repo, "tiny-2", 10, fleet.ring), "it has tiny-1"),
        (lambda: set_ring(fleet.repo, "tiny-1", 101, fleet.ring), "ring 101"),
        (lambda: refresh(fleet.repo, fleet.ring, days=1000), "--days"),
        (lambda: rotate(fleet.repo, "mirror", fleet.all_keys), "no role"),
        (lambda: rotate(fleet.repo, "releases", fleet.all_keys, remove=["0" * 16]), "has no key"),
        (lambda: rotate(fleet.repo, "releases", fleet.all_keys, remove=[fleet.release.public.id]), "would have 0 keys"),
        (lambda: sign_pending(fleet.repo, fleet.all_keys), "no change of keys waits"),
    ):
        with pytest.raises(UsageError, match=says):
            call()
    with pytest.raises(InputOutputError, match="is no repository"):
        contents(tmp_path)
    (fleet.repo / "metadata" / "timestamp.json").write_text("x")
    with pytest.raises(InputOutputError, match="missing or damaged"):
        contents(fleet.repo)


def test_root_keys_in_three_safes(fleet: FleetPlace) -> None:
    """Nobody has two of them in one place: the change waits, and devices see nothing of it until it is whole."""
    fleet.join()
    fleet.publish("1")
    before = _tree(fleet.repo)
    new, old = fleet.new_key("root-4"), fleet.id_of("offline/root-1")
    safes = [fleet.keys / "offline" / f"root-{n}.key" for n in (2, 3)]
    begun = rotate(fleet.repo, "root", Keyring([safes[0]]), add=[new], remove=[old])
    assert begun.saved.missing and not begun.saved.versions
    assert "root-3" in begun.saved.missing[0] and "root-2" not in begun.saved.missing[0]
    assert {name: data for name, data in _tree(fleet.repo).items() if "pending" not in name} == before
    with pytest.raises(UsageError, match="waits for signatures"):
        rotate(fleet.repo, "root", fleet.all_keys)
    assert sign_pending(fleet.repo, Keyring([fleet.keys / "more"])).saved.missing, "the new key alone is not enough"
    assert fleet.install().outcome == "installed"
    done = sign_pending(fleet.repo, Keyring([safes[1]]))
    assert done.saved.versions == {"root": 2} and not (fleet.repo / "pending" / "root.json").exists()
    assert fleet.install().outcome == "current"
    signed = json.loads((fleet.repo / "metadata" / "2.root.json").read_bytes())
    assert old not in signed["signed"]["keys"] and len(signed["signatures"]) == 3


def test_another_release_key_signs_for_what_is_there(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    new = fleet.new_key("release-2")
    only_new = Keyring([fleet.keys / "offline", fleet.keys / "more", fleet.keys / "online"])
    done = rotate(fleet.repo, "releases", only_new, add=[new], remove=[fleet.release.public.id])
    assert set(done.saved.versions) == {"targets", "releases", "snapshot", "timestamp"}
    assert done.releases == ("tiny 1 for laptop",)
    assert fleet.install().outcome == "installed"
    with pytest.raises(UsageError, match="release-2"):
        set_ring(fleet.repo, "tiny-1", 10, Keyring([fleet.keys / "release", fleet.keys / "online"]))


def test_keys_and_their_files(fleet: FleetPlace, tmp_path: Path) -> None:
    secret, public = new_key("a", tmp_path / "k")
    other = new_key("b", tmp_path / "k")[1]
    public.rename(tmp_path / "a.pub")
    with pytest.raises(InputOutputError, match="has no a.pub beside it"):
        Keyring([secret])
    other.rename(public)
    (tmp_path / "k" / "b.key").unlink()
    ring = Keyring([tmp_path / "k"])
    with pytest.raises(UsageError, match="another key than the .pub"):
        ring.signers([next(iter(ring._files))])
    with pytest.raises(InputOutputError):
        Keyring([tmp_path / "none"])


@pytest.mark.parametrize("role", ["targets", "releases", "snapshot", "timestamp"])
def test_without_a_change_a_role_is_signed_anew(fleet: FleetPlace, role: str) -> None:
    fleet.publish("1")
    fleet.later(200)
    before = {one.role: one for one in contents(fleet.repo)[1]}
    done = rotate(fleet.repo, role, fleet.all_keys, now=fleet.now)
    after = {one.role: one for one in contents(fleet.repo)[1]}
    assert role in done.saved.versions and after[role].version == before[role].version + 1
    assert after[role].expires > before[role].expires and after[role].keys == before[role].keys
