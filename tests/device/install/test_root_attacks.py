"""A device's folder that was tampered with lets nothing in: trust that is gone, links, foreign owners, loose modes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bundles import MODEL, make_key, write_tiny

from edgedx.core.errors import BundleError, EdgedxError, GateRefused, InputOutputError
from edgedx.device.install.active import open_any
from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.install.permissions import check_root
from edgedx.device.install.rollback import rollback
from edgedx.device.install.state import read_state
from edgedx.device.install.status import device_status
from edgedx.device.install.trust import pin, pinned
from edgedx.device.operation.serving import begin


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Versions 1 and 2, signed by a pinned key; beside it bundles that are not."""
    root, key = tmp_path / "device", make_key(tmp_path)
    pin(root, tmp_path / "release.pub")
    for version in ("1", "2"):
        write_tiny(tmp_path / f"{version}.edgedx", version=version, keys=[key])
        _install(tmp_path / f"{version}.edgedx", root)
    write_tiny(tmp_path / "unsigned.edgedx", version="3")
    mallory = make_key(tmp_path, "mallory")
    write_tiny(tmp_path / "foreign.edgedx", version="3", keys=[mallory])
    return root


def _install(path: Path, root: Path, *, allow_unsigned: bool = False) -> None:
    install_bundle(path, root, allow_unsigned=allow_unsigned, examine=examine, prove=prove)


def _lets_nothing_in(root: Path, says: str) -> None:
    """Neither install, nor rollback, nor a starting scanner, nor any command that opens a bundle."""
    for name in ("unsigned.edgedx", "foreign.edgedx"):
        for allowed in (False, True):
            with pytest.raises(EdgedxError, match=says) as caught:
                _install(root.parent / name, root, allow_unsigned=allowed)
            assert caught.value.next_step
    for attempt in (
        lambda: rollback(root, examine=lambda *_: examine(root)),
        lambda: begin(root),
        lambda: open_any(root),
    ):
        with pytest.raises(EdgedxError, match=says):
            attempt()
    assert any(says in problem for problem in device_status(root).problems)


# Trust that is gone


def _removed(root: Path) -> None:
    shutil.rmtree(root / "trust")


def _emptied(root: Path) -> None:
    next((root / "trust").iterdir()).unlink()


def _hidden(root: Path) -> None:
    file = next((root / "trust").iterdir())
    file.rename(file.with_name(f".{file.name}"))


def _renamed(root: Path) -> None:
    (root / "trust").rename(root / "trust.bak")


def _with_state(root: Path) -> None:
    _removed(root)
    (root / "state.json").unlink()


def _with_records(root: Path) -> None:
    _removed(root)
    for slot in "ab":
        (root / "slots" / slot / "installed.json").unlink()


def _with_state_damaged(root: Path) -> None:
    _with_records(root)
    (root / "state.json").write_text("{")


@pytest.mark.parametrize(
    "attack", [_removed, _emptied, _hidden, _renamed, _with_state, _with_records, _with_state_damaged]
)
def test_a_device_whose_keys_are_gone_trusts_nobody(root: Path, attack: Callable[[Path], None]) -> None:
    attack(root)
    _lets_nothing_in(root, "this device trusts nobody")


def test_a_device_that_pinned_a_key_and_installed_nothing_remembers_it(tmp_path: Path) -> None:
    root = tmp_path / "device"
    make_key(tmp_path)
    pin(root, tmp_path / "release.pub")
    shutil.rmtree(root / "trust")
    write_tiny(tmp_path / "a.edgedx")
    with pytest.raises(GateRefused, match="trusts nobody"):
        _install(tmp_path / "a.edgedx", root, allow_unsigned=True)


def test_pinning_the_key_again_is_the_way_back(root: Path) -> None:
    _removed(root)
    pin(root, root.parent / "release.pub")
    assert open_any(root).manifest.version == "2" and begin(root).bundle.manifest.version == "2"


def test_a_device_of_before_that_memory_learns_it_with_the_next_installation(root: Path) -> None:
    state = root / "state.json"
    state.write_text(state.read_text().replace(',\n  "keys_required": true', ""))
    assert not read_state(root).keys_required
    _install(root.parent / "2.edgedx", root)
    assert read_state(root).keys_required


def test_a_bench_without_keys_goes_on(tmp_path: Path) -> None:
    root = tmp_path / "device"
    write_tiny(tmp_path / "a.edgedx")
    _install(tmp_path / "a.edgedx", root, allow_unsigned=True)
    begin(root).confirm()  # writes an event that says nothing about keys
    assert pinned(root) == [] and open_any(root).manifest.version == "1"
    (root / "state.json").write_text("{")
    assert open_any(root).manifest.version == "1"
    assert "keys_required" not in (root / "state.json").read_text()


# Links


def _link(path: Path, target: Path) -> None:
    """Put a link where a file or folder is; what was there goes to where it points."""
    if path.exists() and not target.exists():
        path.rename(target)
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["trust", "slots", "slots/a", "slots/b", "state.json", "engines", ".lock"])
def test_a_link_below_the_root_is_not_followed(root: Path, tmp_path: Path, name: str) -> None:
    _link(root / name, tmp_path / "elsewhere")
    with pytest.raises(EdgedxError, match="symbolic link|cannot write|Too many"):
        _install(tmp_path / "2.edgedx", root)
    if name != ".lock":
        _lets_nothing_in(root, "symbolic link")


def test_a_pinned_key_that_is_a_link_is_not_read(root: Path, tmp_path: Path) -> None:
    key = next((root / "trust").iterdir())
    _link(key, tmp_path / "elsewhere.pub")
    _lets_nothing_in(root, "symbolic link")


def test_trust_that_is_a_link_to_nowhere_is_not_absent(root: Path) -> None:
    _removed(root)
    (root / "trust").symlink_to("/nowhere")
    _lets_nothing_in(root, "symbolic link")


def test_a_lock_that_is_a_link_makes_no_file_elsewhere(tmp_path: Path) -> None:
    root = tmp_path / "device"
    root.mkdir()
    (root / ".lock").symlink_to(tmp_path / "made")
    make_key(tmp_path)
    with pytest.raises(InputOutputError):
        pin(root, tmp_path / "release.pub")
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("name", [MODEL, "models", "manifest.json", "signatures", "golden.npz"])
def test_a_part_that_is_a_link_is_not_opened(root: Path, tmp_path: Path, name: str) -> None:
    """Its bytes are the right ones: who owns the target could change them between two looks."""
    _link(root / "slots/b" / name, tmp_path / "elsewhere")
    with pytest.raises((BundleError, GateRefused), match="symbolic link"):
        open_any(root)
    assert begin(root).bundle.manifest.version == "1", "the other slot serves"


def test_leftovers_that_are_links_are_removed_and_their_targets_stay(root: Path, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").touch()
    for name in (".staging-x", ".trash-y"):
        (root / "slots" / name).symlink_to(precious)
    _install(tmp_path / "2.edgedx", root)
    assert (precious / "file").exists() and sorted(os.listdir(root / "slots")) == ["a", "b"]


def test_a_root_that_is_a_link_itself_is_the_operators_choice(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert begin(tmp_path / "link").bundle.manifest.version == "2"


# Modes and owners


@pytest.mark.parametrize("name", ["", "trust", "slots", "slots/b", "state.json", "key"])
@pytest.mark.parametrize("mode", [0o002, 0o020])
def test_what_others_can_write_is_not_believed(root: Path, name: str, mode: int) -> None:
    path = next((root / "trust").iterdir()) if name == "key" else root / name
    if os.geteuid() != 0:
        pytest.skip("needs root: a group of its own is its user's")
    os.chown(path, -1, 12345)  # a group that is nobody's private one
    os.chmod(path, path.stat().st_mode | mode)
    _lets_nothing_in(root, "can be written by")


@pytest.mark.parametrize("name", ["trust", "slots", "slots/b", "state.json", "key"])
def test_what_belongs_to_somebody_else_is_not_believed(root: Path, name: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("chown needs root")
    path = next((root / "trust").iterdir()) if name == "key" else root / name
    os.chown(path, 12345, -1)
    _lets_nothing_in(root, "belongs to user 12345")


def test_a_folder_of_the_services_user_that_root_installs_into_is_fine(root: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("chown needs root")
    os.chown(root, 12345, 12345)
    for name in ("state.json", "slots/a"):
        os.chown(root / name, 12345, 12345)  # as a scanner leaves them
    os.chmod(root, 0o770)  # umask 007 and a group of the user's own
    assert open_any(root).manifest.version == "2"
    _install(root.parent / "2.edgedx", root)


def test_a_root_that_is_not_there_is_nobodys(tmp_path: Path) -> None:
    check_root(tmp_path / "absent")


# Nothing may hang


def _within(seconds: float, code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Python that must end by itself."""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False
    )


_MAIN = "from edgedx.cli.app import main; main()"


@pytest.mark.parametrize(
    "where", ["bundle", "key", "pin", "state.json", "slots/b/installed.json", "slots/b/signatures"]
)
def test_a_fifo_is_not_waited_for(root: Path, tmp_path: Path, where: str) -> None:
    fifo = {"bundle": tmp_path / "x.edgedx", "key": tmp_path / "x.pub"}.get(where, root / where)
    if where == "pin":
        fifo = next((root / "trust").iterdir())
    fifo.unlink(missing_ok=True)
    os.mkfifo(fifo)
    given = (
        ["keys", "pin", fifo] if where == "key" else ["install", fifo if where == "bundle" else tmp_path / "1.edgedx"]
    )
    done = _within(60, _MAIN, *given, "--root", root)
    assert done.returncode in (1, 5) and "Traceback" not in done.stderr
    assert ("older than 2" if where == "slots/b/signatures" else "regular file") in done.stderr
    if where not in ("bundle", "key"):
        assert "regular file" in _within(60, _MAIN, "status", "--root", root).stderr


def test_a_stick_with_modules_on_it_does_not_run_them(root: Path, tmp_path: Path) -> None:
    """`python -m` imports from the working folder first: the examination must not start in ours."""
    stick = tmp_path / "stick"
    stick.mkdir()
    for name in ("numpy", "json", "onnxruntime", "pydantic"):
        (stick / f"{name}.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\nwhile True: pass\n")
    code = f"import os, sys; sys.path[0] = '/nowhere'; os.chdir({str(stick)!r}); {_MAIN}"  # as the script edgedx
    done = _within(120, code, "install", "../2.edgedx", "--root", "../device")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
