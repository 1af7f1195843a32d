"""Back to the other slot on an operator's word, and what `status` says of it all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from bundles import MODEL, golden, make_key, model, write_tiny

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import BundleError, GateRefused
from edgedx.device.install.active import open_any
from edgedx.device.install.health import Health, examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.install.rollback import rollback
from edgedx.device.install.slots import active_slot
from edgedx.device.install.state import MAX_EVENTS, read_state
from edgedx.device.install.status import device_status
from edgedx.device.install.trust import pin, unpin


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Versions 1 and 2, signed."""
    root, key = tmp_path / "device", make_key(tmp_path)
    pin(root, tmp_path / "release.pub")
    for version in ("1", "2"):
        write_tiny(tmp_path / f"{version}.edgedx", version=version, keys=[key])
        install_bundle(tmp_path / f"{version}.edgedx", root, examine=examine, prove=prove)
    return root


def test_the_version_before_is_active_again_and_the_ratchet_stays(root: Path, tmp_path: Path) -> None:
    done = rollback(root, examine=examine, prove=prove)
    assert (done.name, done.left, done.slot) == ("tiny 1", "tiny 2", "a") and done.golden_difference < 1e-4
    assert open_any(root).manifest.version == "1"
    state = read_state(root)
    assert state.ratchet == {"tiny": "2"} and state.history[-1].action == "rollback" and state.trial is None
    with pytest.raises(GateRefused, match="older than 2"):
        install_bundle(tmp_path / "1.edgedx", root.parent / "device", examine=examine, prove=prove)


def test_back_and_forth(root: Path) -> None:
    assert [rollback(root, examine=examine, prove=prove).name for _ in range(4)] == [
        "tiny 1",
        "tiny 2",
        "tiny 1",
        "tiny 2",
    ]


def test_a_fresh_process_examines_the_other_slot_before_the_switch(root: Path) -> None:
    assert rollback(root).name == "tiny 1"


def test_a_slot_that_does_not_work_is_not_gone_back_to(root: Path) -> None:
    with pytest.raises(GateRefused, match="a made-up reason. Slot b stays active"):
        rollback(root, examine=lambda *_: Health(False, "a made-up reason"))
    assert active_slot(root) == "b"


def test_a_damaged_slot_is_not_gone_back_to(root: Path) -> None:
    (root / "slots/a" / MODEL).write_bytes(b"rotten")
    with pytest.raises(BundleError, match=MODEL):
        rollback(root, examine=examine, prove=prove)
    assert active_slot(root) == "b"


def test_a_slot_that_computes_other_values_is_not_gone_back_to(root: Path, tmp_path: Path) -> None:
    from edgedx.core.bundle.signing import load_signing_key

    write_tiny(
        tmp_path / "x.edgedx", samples=golden(model(), shift=1.0), keys=[load_signing_key(tmp_path / "release.key")]
    )
    other = open_bundle(tmp_path / "x.edgedx")
    for name in other.names():
        (root / "slots/a" / name).write_bytes(other.read(name))
    (root / "slots/a/manifest.json").write_bytes(other.raw_manifest)
    (root / "slots/a/signatures").write_text("".join(f"{s.key_id} {s.value.hex()}\n" for s in other.signatures))
    with pytest.raises(GateRefused, match="other values"):
        rollback(root, examine=examine, prove=prove)
    assert active_slot(root) == "b"


def test_a_slot_whose_key_is_trusted_no_longer_is_not_gone_back_to(root: Path, tmp_path: Path) -> None:
    old = open_any(root).signed_by
    make_key(tmp_path, "next")
    pin(root, tmp_path / "next.pub")
    assert old is not None
    unpin(root, old.id)
    with pytest.raises(GateRefused, match="trusts only next"):
        rollback(root, examine=examine, prove=prove)


def test_where_the_active_slot_is_damaged_there_is_a_way_back(root: Path) -> None:
    (root / "slots/b" / MODEL).write_bytes(b"rotten")
    done = rollback(root, examine=examine, prove=prove)
    assert (done.name, done.left) == ("tiny 1", None) and open_any(root).manifest.version == "1"


def test_without_another_slot_there_is_no_way_back(tmp_path: Path) -> None:
    root = tmp_path / "device"
    for _ in range(2):
        with pytest.raises(BundleError, match="is empty") as caught:
            rollback(root, examine=examine, prove=prove)
        assert caught.value.next_step
        write_tiny(tmp_path / "a.edgedx")
        install_bundle(tmp_path / "a.edgedx", root, allow_unsigned=True, examine=examine, prove=prove)


def test_the_history_stays_short(root: Path) -> None:
    for _ in range(MAX_EVENTS + 3):
        rollback(root, examine=lambda *_: Health(True), prove=lambda *_: 0.0)
    assert len(read_state(root).history) == MAX_EVENTS


# Status


def test_status_tells_all_of_a_device(root: Path) -> None:
    found = device_status(root)
    assert found.active is not None and found.other is not None
    assert (found.active.version, found.active.slot, found.active.variant) == ("2", "b", "fp32")
    assert (found.other.version, found.other.slot, found.other.active) == ("1", "a", False)
    assert found.active.signed_by is not None and found.active.signed_by.startswith("release (")
    assert found.active.age_days is not None and 0 <= found.active.age_days < 1
    assert found.ratchet == {"tiny": "2"} and found.trial_starts == 0 and not found.active.problem
    assert [key.name for key in found.keys] == ["release"]
    assert any("only one key" in problem for problem in found.problems)


def test_status_changes_nothing(root: Path) -> None:
    before = sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*"))
    device_status(root)
    assert sorted((str(path), path.lstat().st_mtime_ns) for path in root.rglob("*")) == before


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda root: (root / "current" / MODEL).write_bytes(b"rotten"), MODEL),
        (lambda root: (root / "state.json").write_text("{"), "state.json"),
        (lambda root: (root / "current/signatures").write_bytes(b""), "not signed"),
        (lambda root: next((root / "trust").iterdir()).write_text("x"), "trust"),
        (lambda root: (root / "current/manifest.json").unlink(), "manifest.json"),
    ],
)
def test_status_tells_what_is_damaged(root: Path, spoil, says: str) -> None:  # type: ignore[no-untyped-def]
    spoil(root)
    assert any(says in problem for problem in device_status(root).problems)


def test_a_missing_installation_record_decides_nothing(root: Path) -> None:
    for content in (b"", b"{}", b'{"variant": "none such"}'):
        (root / "current/installed.json").write_bytes(content)
        found = device_status(root)
        assert found.active is not None and found.active.variant == "fp32" and not found.active.problem
        assert examine(root).ok


def test_an_unsigned_device_says_so(tmp_path: Path) -> None:
    root = tmp_path / "device"
    write_tiny(tmp_path / "a.edgedx")
    install_bundle(tmp_path / "a.edgedx", root, allow_unsigned=True, examine=examine, prove=prove)
    found = device_status(root)
    assert found.active is not None and found.active.unsigned and not found.keys
    assert any("unsigned" in problem for problem in found.problems)


def test_an_empty_device_has_a_status(tmp_path: Path) -> None:
    found = device_status(tmp_path)
    assert found.active is None and found.other is None and found.problems == () and os.listdir(tmp_path) == []
