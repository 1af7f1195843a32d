"""A device takes what is for it, once, from a folder, a stick or a web server; and says why it takes nothing."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from bundles import golden, model, write_tiny
from fleets import FleetPlace, web

from edgedx.core.errors import AlreadyExists, GateRefused, InputOutputError, ProfileError, UsageError
from edgedx.device.fleet.places import read_record
from edgedx.device.fleet.terms import place_in_rings
from edgedx.device.fleet.trust import trust
from edgedx.device.install.active import open_any
from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.install.rollback import rollback
from edgedx.lab.fleet.publish import refresh, set_ring
from edgedx.lab.fleet.rotate import rotate


def _active(fleet: FleetPlace) -> str:
    return open_any(fleet.root).manifest.version


def test_the_newest_release_is_installed_once(fleet: FleetPlace) -> None:
    fleet.join()
    for version in ("1", "2", "1.10"):
        fleet.publish(version)
    done = fleet.install()
    assert (done.outcome, _active(fleet)) == ("installed", "2")
    assert done.installed is not None and done.installed.signed_by is not None
    again = fleet.install()
    assert again.outcome == "current" and again.installed is None
    assert list((fleet.root / "fleet" / "downloads").iterdir()) == []


def test_the_same_over_http_and_nothing_is_fetched_twice(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    with web(fleet.repo) as (url, server):
        assert fleet.install(url).outcome == "installed"
        first = len(server.asked)
        assert fleet.install(url).outcome == "current"
        later = [path for path, _ in server.asked[first:]]
    assert later == ["/metadata/2.root.json", "/metadata/timestamp.json"], "two small requests where nothing is new"


def test_a_device_waits_for_its_ring(fleet: FleetPlace) -> None:
    name = next(f"clinic-{n}" for n in range(99) if 10 < place_in_rings(f"clinic-{n}") < 90)
    fleet.join(name)
    fleet.publish("1")
    fleet.install()
    fleet.publish("2", ring=10)
    done = fleet.install()
    assert done.outcome == "later" and "10 % of the devices" in done.why and _active(fleet) == "1"
    set_ring(fleet.repo, "tiny-2", 100, fleet.ring)
    assert fleet.install().outcome == "installed"


def test_a_withdrawn_release_is_taken_by_nobody_and_left_by_nobody(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    fleet.publish("2")
    set_ring(fleet.repo, "tiny-2-laptop", 0, fleet.ring)
    assert fleet.install().release.facts.version == "1" and _active(fleet) == "1"
    assert fleet.install().outcome == "later"
    set_ring(fleet.repo, "tiny-1", 0, fleet.ring)
    assert fleet.install().outcome == "later" and _active(fleet) == "1"
    set_ring(fleet.repo, "tiny-2", 100, fleet.ring)
    fleet.install()
    set_ring(fleet.repo, "tiny-2", 0, fleet.ring)
    set_ring(fleet.repo, "tiny-1", 100, fleet.ring)
    done = fleet.install()
    assert done.outcome == "current" and "withdrawn" in done.why and _active(fleet) == "2"


def test_the_rings_hold_about_as_many_devices_as_they_say() -> None:
    places = [place_in_rings(f"clinic-{n:04d}") for n in range(4000)]
    for percent in (1, 10, 50):
        share = 100 * sum(place < percent for place in places) / len(places)
        assert abs(share - percent) < 0.25 * percent


def test_what_was_rolled_back_is_not_taken_again_by_itself(fleet: FleetPlace) -> None:
    fleet.join()
    for version in ("1", "2"):
        fleet.publish(version)
        fleet.install()
    rollback(fleet.root, examine=examine, prove=prove)
    done = fleet.install()
    assert done.outcome == "left" and "was left" in done.why and _active(fleet) == "1"
    assert fleet.install(again=True).outcome == "installed" and _active(fleet) == "2"
    rollback(fleet.root, examine=examine, prove=prove)
    fleet.publish("3")
    assert fleet.install().outcome == "installed" and _active(fleet) == "3"


def test_what_did_not_pass_here_is_not_tried_every_night(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    fleet.install()
    network = model(2.0)
    fleet.publish("2", network=network, samples=golden(network, shift=1.0))
    with pytest.raises(GateRefused, match="computes other values|logits"):
        fleet.install()
    done = fleet.install()
    assert done.outcome == "refused" and "did not pass" in done.why and _active(fleet) == "1"
    assert str(fleet.root) not in done.why
    with pytest.raises(GateRefused):
        fleet.install(again=True)
    fleet.publish("3")
    assert fleet.install().outcome == "installed"
    set_ring(fleet.repo, "tiny-2", 0, fleet.ring)


def test_a_stick_that_is_older_than_what_was_seen(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("2")
    old = fleet.stick()
    fleet.publish("3")
    fleet.install()
    with pytest.raises(GateRefused, match=r"is older \(number 2\) than what this device has seen \(number 3\)"):
        fleet.install(old)
    assert _active(fleet) == "3"


def test_a_repository_without_what_is_installed_offers_only_older_ones(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("2")
    write_tiny(fleet.folder / "by-hand.edgedx", version="3", keys=[fleet.release])
    install_bundle(fleet.folder / "by-hand.edgedx", fleet.root, examine=examine, prove=prove)
    done = fleet.install()
    assert done.outcome == "older" and "is older than what this device has had: 3; 3 stays" in done.why


def test_a_stale_stick_says_since_when_and_what_to_do(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    stick = fleet.stick()
    fleet.later(91)
    with pytest.raises(
        GateRefused, match=r"stale: it was good until 20\d\d-\d\d-\d\d, and this device's clock"
    ) as caught:
        fleet.install(stick)
    assert "edgedx fleet refresh" in str(caught.value.next_step) and "clock" in str(caught.value.next_step)
    refresh(fleet.repo, fleet.ring, now=fleet.now)
    assert fleet.install(fleet.stick("fresh")).outcome == "installed"


def test_a_year_without_network_then_a_stick(fleet: FleetPlace) -> None:
    """Nine roots came and went, all online keys changed thrice, and all metadata that it knows have expired."""
    fleet.join()
    fleet.publish("1")
    fleet.install()
    names = {"root": "offline/root-1", "snapshot": "online/snapshot", "timestamp": "online/timestamp"}
    for turn in range(3):
        fleet.later(130)
        for role, old in list(names.items()):
            key = fleet.new_key(f"{role}-next-{turn}")
            rotate(fleet.repo, role, fleet.all_keys, add=[key], remove=[fleet.id_of(old)], now=fleet.now)
            names[role] = f"more/{role}-next-{turn}"
    fleet.publish("9")
    stick = fleet.stick()
    missing, kept = stick / "metadata" / "4.root.json", fleet.folder / "kept.json"
    missing.rename(kept)
    with pytest.raises(GateRefused, match="not signed by enough of the keys .* root is version 3") as caught:
        fleet.install(stick)
    assert "every metadata/N.root.json from that version on" in str(caught.value.next_step)
    kept.rename(missing)
    assert fleet.install(stick).outcome == "installed" and _active(fleet) == "9"
    assert read_record(fleet.root).root_version == 10


def test_root_keys_that_were_not_renewed_in_time(fleet: FleetPlace) -> None:
    fleet.join()
    fleet.publish("1")
    fleet.later(1096)
    with pytest.raises(GateRefused, match="root keys were to be renewed until") as caught:
        fleet.install()
    assert "fleet rotate" in str(caught.value.next_step)
    rotate(fleet.repo, "root", fleet.all_keys, now=fleet.now)
    with pytest.raises(GateRefused, match="stale"):
        fleet.install()
    refresh(fleet.repo, fleet.ring, now=fleet.now)
    for role, says in (("targets", "release keys were to be confirmed"), ("releases", "list of releases was to be")):
        with pytest.raises(GateRefused, match=says) as caught:
            fleet.install()
        assert f"fleet rotate REPO {role}" in str(caught.value.next_step)
        rotate(fleet.repo, role, fleet.all_keys, now=fleet.now)
    assert fleet.install().outcome == "installed"


def test_without_a_trusted_root_or_a_pinned_key_nothing_is_fetched(fleet: FleetPlace) -> None:
    fleet.publish("1")
    with pytest.raises(GateRefused, match="trusts no repository yet") as caught:
        fleet.install()
    assert "fleet trust" in str(caught.value.next_step)
    trust(fleet.root, fleet.repo / "metadata" / "1.root.json", name="clinic-1")
    with web(fleet.repo) as (url, server):
        with pytest.raises(GateRefused, match="trusts no key yet"):
            fleet.install(url)
        assert server.asked == []
    assert fleet.install(allow_unsigned=True).outcome == "installed"


def test_trust_is_given_once(fleet: FleetPlace, tmp_path: Path) -> None:
    first = fleet.repo / "metadata" / "1.root.json"
    with pytest.raises(UsageError, match="no name"):
        trust(fleet.root, first)
    for name in ("Clinic", "../x", ""):
        with pytest.raises(UsageError):
            trust(fleet.root, first, name=name or "-")
    done = trust(fleet.root, first, name="clinic-1")
    assert done.threshold == 2 and len(done.keys) == 3 and done.public.is_file()
    assert stat.S_IMODE(os.stat(done.public.with_suffix(".key")).st_mode) == 0o600
    assert trust(fleet.root, first).box == "clinic-1", "the name is remembered"
    other = FleetPlace(tmp_path / "other", pytest.MonkeyPatch())
    with pytest.raises(AlreadyExists, match="trusts another repository"):
        trust(fleet.root, other.repo / "metadata" / "1.root.json")
    fleet.publish("1")
    fleet.join()
    fleet.install()
    trust(fleet.root, other.repo / "metadata" / "1.root.json", replace=True)
    with pytest.raises(GateRefused):
        fleet.install()
    broken = tmp_path / "broken.json"
    broken.write_bytes(first.read_bytes().replace(b'"threshold":2', b'"threshold":1'))
    with pytest.raises(GateRefused, match="not signed by the keys"):
        trust(fleet.root, broken, replace=True)
    broken.write_text("{}")
    with pytest.raises(InputOutputError, match="no root metadata"):
        trust(fleet.root, broken)


def test_which_model_and_which_profile(fleet: FleetPlace) -> None:
    fleet.join()
    with pytest.raises(ProfileError, match="has no release"):
        fleet.install()
    fleet.publish("1")
    fleet.publish("4", name="other")
    with pytest.raises(ProfileError, match="several models: other, tiny") as caught:
        fleet.install()
    assert "--model" in str(caught.value.next_step)
    assert fleet.install(name="other").release.facts.version == "4"
    assert fleet.install().outcome == "current", "what is installed says which"
    fleet.publish("5", name="other", profile="orin-nano-8gb", target="jetson")
    assert fleet.install().outcome == "current"
    with pytest.raises(ProfileError, match="no-such"):
        fleet.install(profile="no-such")


@pytest.mark.parametrize(
    ("where", "error", "says"),
    [
        ("ftp://example.org/x", UsageError, "no address"),
        ("https://me:secret@example.org/x", UsageError, "password"),
        ("/no/such/stick", InputOutputError, "no folder"),
    ],
)
def test_addresses_that_are_none(fleet: FleetPlace, where: str, error: type[Exception], says: str) -> None:
    fleet.join()
    with pytest.raises(error, match=says):
        fleet.install(where)
    (fleet.folder / "empty").mkdir()
    with pytest.raises(InputOutputError, match="no repository in"):
        fleet.install(fleet.folder / "empty")


def test_a_login_page_in_the_place_of_a_repository(fleet: FleetPlace, tmp_path: Path) -> None:
    fleet.join()
    hotel = tmp_path / "hotel"
    (hotel / "metadata").mkdir(parents=True)
    (hotel / "metadata" / "timestamp.json").write_text("<html>Please log in</html>")
    with web(hotel) as (url, _), pytest.raises(InputOutputError, match="is no metadata") as caught:
        fleet.install(url)
    assert "login" in str(caught.value.next_step)
