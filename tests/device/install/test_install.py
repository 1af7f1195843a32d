"""An installation switches whole or not at all, and what was active stays active whatever fails."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from bundles import GOLDEN, MODEL, golden, make_key, model, saturating_model, write_tiny
from onnx import TensorProto

from edgedx.core.bundle.container import MANIFEST
from edgedx.core.bundle.manifest import Variant, open_folder
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, InputOutputError, ProfileError, StorageError
from edgedx.core.settings.profile import VNNI
from edgedx.device.install.active import open_any
from edgedx.device.install.health import Health, examine, prove
from edgedx.device.install.install import Installed, install_bundle
from edgedx.device.install.slots import active_slot, hold, read_record
from edgedx.device.install.state import read_state
from edgedx.device.install.trust import pin
from edgedx.device.machine.hardware import read_hardware


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "device"


def _put(path: Path, root: Path, **options: Any) -> Installed:
    """Install without a key, and examine in this process: a fresh one for each test would take most of the time."""
    return install_bundle(path, root, **{"allow_unsigned": True, "examine": examine, "prove": prove, **options})


def _install(root: Path, version: str, **options: Any) -> str:
    """Install a bundle of this version; returns its digest."""
    path = root.with_name(f"v{version}.edgedx")
    write_tiny(path, version=version)
    return _put(path, root, **options).digest


def _state(root: Path) -> tuple[str, list[str], dict[str, bytes]]:
    """What is active, every name in root and slots, and every byte of both slots."""
    files = {str(path.relative_to(root)): path.read_bytes() for path in root.glob("slots/*/**/*") if path.is_file()}
    return open_any(root).digest, sorted(os.listdir(root) + os.listdir(root / "slots")), files


def test_an_installed_bundle_is_active(root: Path) -> None:
    digest = _install(root, "1")
    assert open_any(root).digest == open_any(root / "current").digest == open_any(root / "slots/a").digest == digest
    assert os.readlink(root / "current") == "slots/a"


def test_what_was_done_is_reported_and_recorded(root: Path, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx", version="7")
    done = _put(bundle.path, root)
    assert (done.digest, done.name, done.variant, done.slot) == (bundle.digest, "tiny 7", "fp32", "a")
    assert done.current == root / "current" and 0 <= done.golden_difference < 1e-4
    record, state = read_record(root / "slots/a"), read_state(root)
    assert record is not None and (record.variant, record.unsigned) == ("fp32", True)
    assert state.ratchet == {"tiny": "7"} and state.trial is not None and state.trial.slot == "a"
    assert [(event.action, event.version, event.unsigned) for event in state.history] == [("install", "7", True)]


def test_installing_the_same_bundle_again_switches_nothing(root: Path) -> None:
    _install(root, "1")
    before = _state(root)[:2]
    _install(root, "1")
    assert _state(root)[:2] == before and not (root / "slots/b").exists()


def test_an_upgrade_keeps_the_version_before_in_the_other_slot(root: Path) -> None:
    digests = [_install(root, version) for version in ("1", "2", "3")]
    assert open_any(root).digest == digests[2] and active_slot(root) == "a"
    assert open_any(root / "slots/b").digest == digests[1]
    assert sorted(os.listdir(root / "slots")) == ["a", "b"]


def test_a_bundle_is_installed_from_a_stick_that_cannot_be_written(
    root: Path, small_disk: Path, tmp_path: Path
) -> None:
    write_tiny(small_disk / "a.edgedx")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    digest = _put(small_disk / "a.edgedx", root).digest
    assert open_any(root).digest == digest


# Whatever is wrong, the old version stays


def _damaged(path: Path) -> None:
    write_tiny(path, version="2")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _truncated(path: Path) -> None:
    write_tiny(path, version="2")
    path.write_bytes(path.read_bytes()[:-100])


def _other_logits(path: Path) -> None:
    write_tiny(path, version="2", samples=golden(model(), shift=0.5))


def _not_numbers(path: Path) -> None:
    write_tiny(path, version="2", network=model(float("nan")), samples=golden(model()))


def _no_network(path: Path) -> None:
    write_tiny(path, version="2", network=b"no network", samples=golden(model()))


def _external(path: Path) -> None:
    made = onnx.load_from_string(model())
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    made.graph.initializer[0].external_data.add(key="location", value="/etc/passwd")
    write_tiny(path, version="2", network=made.SerializeToString(), samples=golden(model()))


def _does_not_load(path: Path) -> None:
    made = onnx.load_from_string(model())
    made.graph.node[0].op_type = "NoSuchOperator"
    write_tiny(path, version="2", network=made.SerializeToString(), samples=golden(model()))


def _older(path: Path) -> None:
    write_tiny(path, version="0.9")


def _a_folder(path: Path) -> None:
    path.mkdir()


def _an_unreadable_stick(path: Path) -> None:
    """Reading this file fails with an input/output error, as a stick does that was pulled out."""
    path.symlink_to("/proc/self/mem")


def _absent(path: Path) -> None:
    assert not path.exists()


BAD: list[tuple[Callable[[Path], None], type[EdgedxError], str]] = [
    (_damaged, BundleError, "damaged"),
    (_truncated, BundleError, "damaged"),
    (_other_logits, GateRefused, "other values"),
    (_not_numbers, GateRefused, "other values"),
    (_no_network, BundleError, "well-formed"),
    (_external, BundleError, "external data"),
    (_does_not_load, BundleError, "does not load"),
    (_older, GateRefused, "older than 1"),
    (_a_folder, BundleError, "regular file"),
    (_an_unreadable_stick, InputOutputError, "rror"),
    (_absent, InputOutputError, "no such file"),
]


@pytest.mark.parametrize(("make", "error", "says"), BAD)
def test_a_bundle_that_fails_leaves_the_old_one_active(
    root: Path, tmp_path: Path, make: Callable[[Path], None], error: type[EdgedxError], says: str
) -> None:
    _install(root, "1")
    before, state = _state(root), read_state(root)
    make(tmp_path / "next.edgedx")
    with pytest.raises(error, match=says) as caught:
        _put(tmp_path / "next.edgedx", root)
    assert _state(root) == before and read_state(root) == state  # nothing but the old, nothing left behind
    assert caught.value.next_step


def test_a_first_installation_that_fails_leaves_nothing_active(root: Path, tmp_path: Path) -> None:
    _other_logits(tmp_path / "a.edgedx")
    with pytest.raises(GateRefused):
        _put(tmp_path / "a.edgedx", root)
    assert not (root / "current").is_symlink() and os.listdir(root / "slots") == []


@pytest.mark.parametrize("left", [0, 4096, 8192, 12288, 16384])
def test_a_full_disk_leaves_the_old_one_active(small_disk: Path, tmp_path: Path, left: int) -> None:
    root = small_disk / "device"
    write_tiny(tmp_path / "1.edgedx", version="1")
    write_tiny(tmp_path / "2.edgedx", version="2")
    digest = _put(tmp_path / "1.edgedx", root).digest
    before = _state(root)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(bytes(free.f_bavail * free.f_frsize - left))
    with pytest.raises(StorageError, match="no space left"):
        _put(tmp_path / "2.edgedx", root)
    assert open_any(root).digest == digest and _state(root) == before
    ballast.unlink()
    _put(tmp_path / "2.edgedx", root)
    assert open_any(root).manifest.version == "2"


@pytest.mark.parametrize("found", [Health(False, "the runtime crashed: Segmentation fault"), KeyboardInterrupt()])
@pytest.mark.parametrize("installed", [0, 1, 2])
def test_a_slot_that_is_not_healthy_is_taken_back(root: Path, tmp_path: Path, installed: int, found: Any) -> None:
    for version in range(installed):
        _install(root, str(version + 1))
    before = _state(root) if installed else None
    write_tiny(tmp_path / "next.edgedx", version="9")
    seen = []

    def examined(place: Path) -> Health:
        seen.append(open_any(place).manifest.version)
        if isinstance(found, Health):
            return found
        raise found

    with pytest.raises(GateRefused if isinstance(found, Health) else KeyboardInterrupt) as caught:
        _put(tmp_path / "next.edgedx", root, examine=examined)
    assert seen == ["9"]  # it was the active one when it was examined
    if isinstance(found, Health):
        assert "Segmentation fault" in str(caught.value) and "taken back" in str(caught.value)
    if before is None:
        assert active_slot(root) is None and os.listdir(root / "slots") == []
    else:
        assert _state(root) == before
    state = read_state(root)
    assert state.ratchet.get("tiny") == (str(installed) if installed else None)  # it bars nothing below it
    assert state.history[-1].action == "revert" and state.history[-1].version == "9"
    _install(root, "8")
    assert open_any(root).manifest.version == "8"


def test_a_failure_to_record_is_a_failure(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _install(root, "1")
    before = _state(root)
    write_tiny(tmp_path / "next.edgedx", version="2")

    def full(place: Path) -> Health:
        monkeypatch.setattr("edgedx.device.install.install.write_state", _full)
        return examine(place)

    with pytest.raises(StorageError):
        _put(tmp_path / "next.edgedx", root, examine=full)
    assert _state(root) == before


def _full(*_: object) -> None:
    raise StorageError("no space left")


def test_a_fresh_process_examines_the_slot_unless_told_otherwise(root: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "a.edgedx")
    assert install_bundle(tmp_path / "a.edgedx", root, allow_unsigned=True).slot == "a"


def test_two_installations_at_once_are_refused(root: Path, tmp_path: Path) -> None:
    write_tiny(tmp_path / "a.edgedx")
    with hold(root), pytest.raises(EdgedxError, match="another"):
        _put(tmp_path / "a.edgedx", root)
    assert not (root / "current").is_symlink()


def test_kernels_that_saturate_are_caught_on_the_very_machine(root: Path, tmp_path: Path) -> None:
    """The real trap: an 8-bit network that x86 without VNNI computes wrongly, with logits that are right."""
    _install(root, "1")
    before = _state(root)
    network = saturating_model()
    int8 = Variant(file=MODEL, precision="int8", scheme="u8s8", purpose="cpu")
    samples = golden(network, fused=False)
    write_tiny(tmp_path / "2.edgedx", version="2", network=network, samples=samples, variants={"fp32": int8})
    hardware = read_hardware()
    if hardware.arch == "x86_64" and not VNNI & set(hardware.cpu.features):
        with pytest.raises(GateRefused, match="VNNI") as caught:
            _put(tmp_path / "2.edgedx", root)
        assert caught.value.next_step is not None and "--variant fp32" in caught.value.next_step
        assert _state(root) == before
    else:
        assert _put(tmp_path / "2.edgedx", root).golden_difference < 1e-4


# Versions


def test_the_ratchet_holds_after_the_other_slot_is_overwritten(root: Path) -> None:
    for version in ("1", "3", "10"):
        _install(root, version)
    for older in ("9", "3", "1.0"):
        with pytest.raises(GateRefused, match="older than 10"):
            _install(root, older)
    assert read_state(root).ratchet == {"tiny": "10"}


def test_the_same_version_with_other_content_is_taken(root: Path, tmp_path: Path) -> None:
    first = _install(root, "1")
    write_tiny(tmp_path / "b.edgedx", version="1.0", created="2026-02-02T00:00:00Z")
    assert _put(tmp_path / "b.edgedx", root).digest != first
    assert read_state(root).ratchet == {"tiny": "1"}


def test_an_operator_may_go_below_and_the_ratchet_stays(root: Path) -> None:
    _install(root, "2")
    _install(root, "1", allow_older=True)
    state = read_state(root)
    assert open_any(root).manifest.version == "1" and state.ratchet == {"tiny": "2"}
    assert state.history[-1].why == "below 2, by --allow-older"
    with pytest.raises(GateRefused, match="older than 2"):
        _install(root, "1.5")


def test_another_model_has_a_ratchet_of_its_own(root: Path, tmp_path: Path) -> None:
    _install(root, "5")
    write_tiny(tmp_path / "hand.edgedx", name="hand", version="1")
    _put(tmp_path / "hand.edgedx", root)
    assert read_state(root).ratchet == {"tiny": "5", "hand": "1"}
    with pytest.raises(GateRefused, match="older than 5"):
        _install(root, "4")


def test_without_state_the_active_version_counts(root: Path) -> None:
    _install(root, "2")
    (root / "state.json").unlink()
    with pytest.raises(GateRefused, match="older than 2"):
        _install(root, "1")


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b'{"ratchet": {"tiny": 1}}', b'{"ratchet": {"tiny": "x"}}', b'{"schema_version": 2}', b"\xff"],
)
def test_a_damaged_state_is_no_way_below_the_ratchet(root: Path, content: bytes) -> None:
    _install(root, "2")
    (root / "state.json").write_bytes(content)
    for version in ("1", "3"):
        with pytest.raises(InputOutputError, match="state.json"):
            _install(root, version)
    assert open_any(root).manifest.version == "2"


# Devices (which machine a bundle fits is tested in test_fits.py)


def test_a_bundle_for_another_machine_is_refused_unless_it_is_meant(root: Path, tmp_path: Path) -> None:
    _install(root, "1")
    before = _state(root)
    write_tiny(tmp_path / "next.edgedx", version="2", profile="orin-nano-8gb", target="jetson")
    here = read_hardware(Path(__file__).parents[1] / "fixtures" / "epyc-avx2")
    with pytest.raises(ProfileError, match="needs an aarch64 processor") as caught:
        _put(tmp_path / "next.edgedx", root, hardware=here)
    assert caught.value.next_step is not None and "--any-device" in caught.value.next_step
    assert _state(root) == before
    _put(tmp_path / "next.edgedx", root, hardware=here, any_device=True)
    assert open_any(root).manifest.version == "2"


# Damage on disk


@pytest.mark.parametrize("part", [MODEL, GOLDEN])
def test_a_part_changed_on_disk_is_found(root: Path, part: str) -> None:
    _install(root, "1")
    path = root / "current" / part
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=f"{part} does not match"):
        open_any(root)


def test_a_part_missing_on_disk_is_found(root: Path) -> None:
    _install(root, "1")
    (root / "current" / GOLDEN).unlink()
    with pytest.raises(BundleError, match=f"{GOLDEN} is missing"):
        open_any(root)


@pytest.mark.parametrize("content", [b"", b"{}", b"not json"])
def test_a_manifest_spoiled_on_disk_is_found(root: Path, content: bytes) -> None:
    _install(root, "1")
    (root / "current" / MANIFEST).write_bytes(content)
    with pytest.raises(InputOutputError, match=MANIFEST):
        open_any(root)


def test_installing_again_repairs_what_was_damaged_on_disk(root: Path) -> None:
    digest = _install(root, "1")
    (root / "current" / MODEL).write_bytes(b"spoiled")
    assert _install(root, "1") == digest == open_any(root).digest
    assert active_slot(root) == "b"  # written beside the damaged one, never over it


def test_what_an_interrupted_installation_left_is_cleaned_up(root: Path) -> None:
    _install(root, "1")
    (root / ".current.new").symlink_to("slots/half")
    shutil.copytree(root / "slots/a", root / "slots/.staging-half")
    shutil.copytree(root / "slots/a", root / "slots/.trash-half")
    second = _install(root, "2")
    assert open_any(root).digest == second and not (root / ".current.new").is_symlink()
    assert sorted(os.listdir(root / "slots")) == ["a", "b"]


# Opening


def test_a_bundle_file_can_be_opened_without_installing_it(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx")
    assert open_any(bundle.path).digest == bundle.digest


def test_an_unpacked_bundle_can_be_opened(root: Path, tmp_path: Path) -> None:
    digest = _install(root, "1")
    shutil.copytree(root / "slots/a", tmp_path / "copy")
    assert open_any(tmp_path / "copy").digest == open_folder(tmp_path / "copy").digest == digest


def test_a_missing_bundle_has_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="absent") as caught:
        open_any(tmp_path / "absent.edgedx")
    assert caught.value.next_step is not None and "edgedx deploy" in caught.value.next_step


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=MANIFEST):
        open_any(tmp_path)


def test_a_root_where_nothing_was_installed_says_so(root: Path, tmp_path: Path) -> None:
    make_key(tmp_path)
    pin(root, tmp_path / "release.pub")
    (root / "slots").mkdir()
    with pytest.raises(InputOutputError, match="nothing is installed"):
        open_any(root)
