"""An installation switches whole or not at all, and what was active stays active whatever fails."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import GOLDEN, MODEL, golden, model, write_tiny

from edgedx.core.bundle import MANIFEST, open_folder
from edgedx.core.errors import BundleError, EdgedxError, GateRefused, InputOutputError
from edgedx.device.install import install_bundle, open_any


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "device"


def _install(root: Path, version: str) -> str:
    """Install a bundle of this version; returns its digest."""
    path = root.with_name(f"v{version}.edgedx")
    write_tiny(path, version=version)
    return install_bundle(path, root).digest


def _state(root: Path) -> tuple[str, list[str]]:
    """What is active, and every name below the root's first two levels."""
    return open_any(root).digest, sorted(os.listdir(root) + os.listdir(root / "versions"))


def test_an_installed_bundle_is_active(root: Path) -> None:
    digest = _install(root, "1")
    assert open_any(root).digest == open_any(root / "current").digest == digest
    assert os.readlink(root / "current") == f"versions/{digest[:16]}"


def test_what_was_done_is_reported(root: Path, tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx", version="7")
    done = install_bundle(bundle.path, root)
    assert (done.digest, done.name, done.variant) == (bundle.digest, "tiny 7", "fp32")
    assert done.current == root / "current" and 0 <= done.golden_difference < 1e-4


def test_installing_the_same_bundle_again_changes_nothing(root: Path) -> None:
    _install(root, "1")
    before = _state(root)
    _install(root, "1")
    assert _state(root) == before and not (root / "previous").exists()


def test_an_upgrade_keeps_the_previous_version(root: Path) -> None:
    first, second = _install(root, "1"), _install(root, "2")
    assert open_any(root).digest == second
    assert open_folder((root / "previous").resolve()).digest == first


def test_the_previous_version_can_be_installed_again(root: Path) -> None:
    first, second = _install(root, "1"), _install(root, "2")
    assert _install(root, "1") == first == open_any(root).digest
    assert open_folder((root / "previous").resolve()).digest == second


def _damaged(path: Path) -> None:
    write_tiny(path, version="2")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _other_logits(path: Path) -> None:
    write_tiny(path, version="2", samples=golden(model(), shift=0.5))


def _not_numbers(path: Path) -> None:
    write_tiny(path, version="2", network=model(float("nan")), samples=golden(model()))


def _no_network(path: Path) -> None:
    write_tiny(path, version="2", network=b"no network", samples=golden(model()))


def _absent(path: Path) -> None:
    assert not path.exists()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (_damaged, BundleError),
        (_other_logits, GateRefused),
        (_not_numbers, GateRefused),
        (_no_network, BundleError),
        (_absent, InputOutputError),
    ],
)
def test_a_bundle_that_fails_leaves_the_old_one_active(
    root: Path, tmp_path: Path, make: Callable[[Path], None], error: type[EdgedxError]
) -> None:
    _install(root, "1")
    before = _state(root)
    make(tmp_path / "next.edgedx")
    with pytest.raises(error):
        install_bundle(tmp_path / "next.edgedx", root)
    assert _state(root) == before  # nothing active but the old, nothing left behind


def test_a_first_installation_that_fails_leaves_nothing_active(root: Path, tmp_path: Path) -> None:
    _other_logits(tmp_path / "a.edgedx")
    with pytest.raises(GateRefused):
        install_bundle(tmp_path / "a.edgedx", root)
    assert not (root / "current").is_symlink() and os.listdir(root / "versions") == []


@pytest.mark.parametrize("part", [MODEL, GOLDEN])
def test_a_part_changed_on_disk_is_found(root: Path, part: str) -> None:
    _install(root, "1")
    path = root / "current" / part
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match=f"{part} was changed"):
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
    assert os.listdir(root / "versions") == [digest[:16]]


def test_a_switch_that_was_interrupted_is_done_again(root: Path, tmp_path: Path) -> None:
    _install(root, "1")
    (root / ".current.new").symlink_to("versions/half")
    shutil.copytree((root / "current").resolve(), root / "versions/.staging-half")
    second = _install(root, "2")
    assert open_any(root).digest == second and not (root / ".current.new").is_symlink()


def test_a_bundle_file_can_be_opened_without_installing_it(tmp_path: Path) -> None:
    bundle = write_tiny(tmp_path / "a.edgedx")
    assert open_any(bundle.path).digest == bundle.digest


def test_a_missing_bundle_has_a_next_step(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match="absent") as caught:
        open_any(tmp_path / "absent.edgedx")
    assert caught.value.next_step is not None and "edgedx deploy" in caught.value.next_step


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputOutputError, match=MANIFEST):
        open_any(tmp_path)
