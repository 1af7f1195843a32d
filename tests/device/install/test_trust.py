"""Whose bundles a device takes: pinned keys, changed one after the other, and no way around them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundles import make_key, write_tiny

from edgedx.core.bundle.manifest import sign_bundle
from edgedx.core.bundle.signing import SigningKey
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, InputOutputError, UsageError
from edgedx.device.install.active import open_any
from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import Installed, install_bundle
from edgedx.device.install.slots import slot_folder
from edgedx.device.install.state import read_state
from edgedx.device.install.trust import pin, pinned, unpin


class Place:
    """Two keys, one of them pinned, and a bundle."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.root, self.path = folder, folder / "device", folder / "a.edgedx"
        self.one, self.two = make_key(folder, "one"), make_key(folder, "two")

    def bundle(self, *keys: SigningKey, version: str = "1") -> None:
        write_tiny(self.path, version=version, keys=keys)

    def pin(self, name: str) -> None:
        pin(self.root, self.folder / f"{name}.pub")

    def install(self, *, allow_unsigned: bool = False) -> Installed:
        return install_bundle(self.path, self.root, allow_unsigned=allow_unsigned, examine=examine, prove=prove)

    def refused(self, says: str, error: type[EdgedxError] = GateRefused, *, allow_unsigned: bool = False) -> None:
        """Refused, with a next step, and nothing was written but perhaps the lock."""
        before = _tree(self.root)
        with pytest.raises(error, match=says) as caught:
            self.install(allow_unsigned=allow_unsigned)
        assert caught.value.next_step and _tree(self.root) == before


def _tree(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_without_keys_a_bundle_is_taken_on_request_only(place: Place) -> None:
    for keys in ((), (place.one,)):  # a signature that nobody can check is none
        place.bundle(*keys)
        place.refused("trusts no key")
    assert place.install(allow_unsigned=True).signed_by is None
    assert read_state(place.root).history[-1].unsigned


def test_with_a_key_an_unsigned_bundle_is_refused_whatever_is_asked(place: Place) -> None:
    place.pin("one")
    place.bundle()
    place.refused("is not signed")
    place.refused("is not signed", allow_unsigned=True)


def test_a_bundle_signed_by_another_key_is_refused(place: Place) -> None:
    place.pin("one")
    place.bundle(place.two)
    place.refused("trusts only one")


def test_a_signed_bundle_is_taken_and_says_by_whom(place: Place) -> None:
    place.pin("one")
    place.bundle(place.one)
    done = place.install()
    assert done.signed_by == f"one ({place.one.public.id})" and done.pinned_keys == 1
    assert not read_state(place.root).history[-1].unsigned
    assert open_any(place.root).signed_by == place.one.public


@pytest.mark.parametrize("change", ["flip", "cut", "grow"])
def test_a_signed_bundle_that_was_changed_is_refused(place: Place, change: str) -> None:
    place.pin("one")
    place.bundle(place.one)
    data = bytearray(place.path.read_bytes())
    if change == "flip":
        data[100] ^= 4
    place.path.write_bytes({"flip": bytes(data), "cut": bytes(data[:-1]), "grow": bytes(data) + b"x"}[change])
    place.refused("damaged", BundleError)


def test_keys_are_changed_without_visiting_the_device_in_between(place: Place) -> None:
    """Pin the next, sign by both, unpin the old: at each step the device takes what is sent to it."""
    place.pin("one")
    place.bundle(place.one)
    place.install()
    place.pin("two")
    place.bundle(place.one, place.two, version="2")
    place.install()
    unpin(place.root, place.one.public.id)
    assert open_any(place.root).signed_by == place.two.public
    place.bundle(place.two, version="3")
    place.install()
    place.bundle(place.one, version="4")
    place.refused("trusts only two")


def test_a_bundle_that_is_active_takes_over_a_new_signature(place: Place) -> None:
    place.pin("one")
    place.pin("two")
    place.bundle(place.one)
    place.install()
    sign_bundle(place.path, [place.two])
    done = place.install()
    assert done.already and not slot_folder(place.root, "b").exists()
    unpin(place.root, place.one.public.id)
    assert open_any(place.root).signed_by == place.two.public


def test_the_last_key_stays(place: Place) -> None:
    place.pin("one")
    with pytest.raises(GateRefused, match="only key"):
        unpin(place.root, place.one.public.id)
    place.pin("two")
    assert unpin(place.root, place.one.public.id) == place.one.public
    assert pinned(place.root) == [place.two.public]
    with pytest.raises(UsageError, match="is pinned"):
        unpin(place.root, place.one.public.id)
    with pytest.raises(UsageError):
        unpin(place.root, "../../state")


def test_pinning_twice_changes_nothing(place: Place) -> None:
    place.pin("one")
    before = _tree(place.root)
    place.pin("one")
    assert _tree(place.root) == before and os.listdir(place.root / "trust") == [f"{place.one.public.id}.pub"]


def test_a_private_key_is_not_pinned(place: Place) -> None:
    with pytest.raises(InputOutputError, match="not a public key"):
        pin(place.root, place.folder / "one.key")
    assert pinned(place.root) == []


@pytest.mark.parametrize("spoil", ["text", "exchanged", "renamed", "empty", "folder"])
def test_a_damaged_pin_lets_nothing_in(place: Place, spoil: str) -> None:
    """Leaving it out would leave a device without keys, which takes unsigned bundles on request."""
    place.pin("one")
    place.bundle(place.one)
    file = place.root / "trust" / f"{place.one.public.id}.pub"
    if spoil == "renamed":
        file.rename(file.with_name("one.pub"))
    elif spoil == "folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_text({"text": "spoiled", "exchanged": place.two.public.line(), "empty": ""}[spoil])
    place.refused("trust", InputOutputError, allow_unsigned=True)
    with pytest.raises(InputOutputError):
        place.pin("two")


def test_an_unsigned_slot_serves_no_longer_once_a_key_is_pinned(place: Place) -> None:
    place.bundle()
    place.install(allow_unsigned=True)
    place.pin("one")
    with pytest.raises(GateRefused, match="not signed"):
        open_any(place.root)
    sign_bundle(place.path, [place.one])
    place.install()
    assert open_any(place.root).signed_by == place.one.public
