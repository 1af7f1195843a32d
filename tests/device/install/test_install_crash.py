"""Installing, taking back, rolling back and reverting are killed at every step: one whole slot is active after each.

Steps are counted two ways: every call that changes a disk, in a forked process with an instant model; and the steps
that the program names, in a real ``edgedx`` process with the real runtime.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bundles import make_key, write_tiny
from death import run_until_killed

from edgedx.core.bundle.manifest import Bundle
from edgedx.core.errors import EdgedxError, GateRefused
from edgedx.device.install import install, rollback
from edgedx.device.install.active import open_any
from edgedx.device.install.health import Health, examine, prove
from edgedx.device.install.install import REVERT_STEPS, STEPS, install_bundle
from edgedx.device.install.rollback import ROLLBACK_STEPS
from edgedx.device.install.slots import active_slot, hold, open_slot, recover
from edgedx.device.install.state import Trial, read_state, write_state
from edgedx.device.install.trust import pin, pinned
from edgedx.device.operation.serving import begin


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: nothing here depends on a disk, and there are hundreds of installations."""
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK):
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Path(name)


@pytest.fixture
def instant(monkeypatch: pytest.MonkeyPatch) -> None:
    """No golden samples: a runtime with threads does not survive a fork. The real one runs further below."""
    for module in (install, rollback):
        monkeypatch.setattr(module, "prove_fresh", lambda *_: 0.0)


class Device:
    """A root with some versions installed, copied for each death, and a signed bundle for the next one."""

    def __init__(self, folder: Path, versions: list[str]) -> None:
        self.folder = folder
        self.key = make_key(folder)
        self.bundles = {version: self._bundle(version) for version in ("1", "2", "3")}
        self.origin = folder / "origin"
        pin(self.origin, folder / "release.pub")
        for version in versions:
            _install(self.bundles[version], self.origin)
        self.active = versions[-1] if versions else None
        self.other = versions[-2] if len(versions) > 1 else None

    def _bundle(self, version: str) -> Bundle:
        return write_tiny(self.folder / f"{version}.edgedx", version=version, keys=[self.key])

    def copy(self, name: object) -> Path:
        root = self.folder / str(name)
        shutil.copytree(self.origin, root, symlinks=True)
        return root


def _install(bundle: Bundle, root: Path, *, healthy: bool = True) -> None:
    install_bundle(bundle.path, root, examine=lambda root: Health(healthy, "" if healthy else "made to fail"))


def _versions(root: Path) -> dict[str, str]:
    """Version by slot; each slot is whole and signed, or it is absent."""
    return {
        slot: open_slot(root, slot, pinned(root)).manifest.version  # type: ignore[arg-type]
        for slot in ("a", "b")
        if (root / "slots" / slot).exists()
    }


def _active(root: Path) -> str | None:
    """Version of the active slot, verified as a scanner does."""
    return open_any(root).manifest.version if active_slot(root) is not None else None


def _recovered(root: Path) -> dict[str, str]:
    with hold(root):
        recover(root)
    assert {name for name in os.listdir(root / "slots") if name.startswith(".")} == set()
    return _versions(root)


def _steps(work: Callable[[Path], object], root: Path) -> int:
    killed, steps = run_until_killed(lambda: work(root))
    assert not killed
    return steps


STARTS = [pytest.param([], marks=pytest.mark.slow), ["1"], pytest.param(["1", "2"], marks=pytest.mark.slow)]


@pytest.mark.parametrize("versions", STARTS, ids=["empty", "one", "two"])
@pytest.mark.usefixtures("instant")
def test_a_killed_installation_leaves_the_old_or_the_new_version(folder: Path, versions: list[str]) -> None:
    device = Device(folder, versions)
    new = device.bundles["3"]
    steps = _steps(lambda root: _install(new, root), device.copy("whole"))
    assert steps > 30
    before, seen = _versions(device.origin), []
    for at in range(1, steps + 1):
        root = device.copy(at)
        assert run_until_killed(lambda root=root: _install(new, root), at)[0]  # type: ignore[misc]
        active = _active(root)
        assert active in (device.active, "3")
        seen.append(active == "3")
        for bundle in device.bundles.values():  # nothing older than what is active gets in
            if active is not None and bundle.manifest.version < active:
                with pytest.raises(GateRefused, match="older"):
                    _install(bundle, root)
        after = _recovered(root)
        if active != "3":
            assert after == before  # as if it had not been tried, the slot to roll back to among it
        else:
            assert sorted(after.values()) == sorted({"3", *([device.active] if device.active else [])})
        _install(new, root)
        assert _active(root) == "3" and read_state(root).ratchet == {"tiny": "3"}
        assert sorted(os.listdir(root / "slots")) == sorted(_versions(root))
        shutil.rmtree(root)
    assert seen == sorted(seen) and True in seen and False in seen  # switched once, and not back


@pytest.mark.parametrize("versions", STARTS, ids=["empty", "one", "two"])
@pytest.mark.usefixtures("instant")
def test_a_killed_taking_back_leaves_one_whole_version(folder: Path, versions: list[str]) -> None:
    device = Device(folder, versions)
    new = device.bundles["3"]

    def fail(root: Path) -> None:
        with pytest.raises(GateRefused, match="made to fail"):
            _install(new, root, healthy=False)

    steps = _steps(fail, device.copy("whole"))
    before = _versions(device.origin)
    assert _versions(folder / "whole") == before and _active(folder / "whole") == device.active
    back = []
    for at in range(1, steps + 1):
        root = device.copy(at)
        assert run_until_killed(lambda root=root: fail(root), at)[0]  # type: ignore[misc]
        active = _active(root)
        assert active in (device.active, "3")
        back.append(active == "3")
        state = read_state(root)
        assert state.ratchet.get("tiny") == device.active  # what never worked bars nothing
        if active == "3":  # killed while it was examined: it is on trial, and a scanner would leave it
            assert state.trial is not None and state.trial.slot == active_slot(root)
        elif at > steps // 2:
            assert _recovered(root) == before
        shutil.rmtree(root)
    assert back.count(True) >= 1 and not back[-1]


@pytest.mark.usefixtures("instant")
def test_a_killed_rollback_leaves_one_whole_version_and_the_ratchet(folder: Path) -> None:
    device = Device(folder, ["1", "2"])
    work = lambda root: rollback.rollback(root, examine=lambda *_: Health(True))  # noqa: E731
    steps = _steps(work, device.copy("whole"))
    assert _active(folder / "whole") == "1" and steps >= 10
    seen = []
    for at in range(1, steps + 1):
        root = device.copy(at)
        state = read_state(root)
        write_state(root, state.model_copy(update={"ratchet": {}}))  # as if its installation had been killed, too
        assert run_until_killed(lambda root=root: work(root), at)[0]  # type: ignore[misc]
        seen.append(_active(root) == "1")
        assert _versions(root) == {"a": "1", "b": "2"}
        if seen[-1]:
            assert read_state(root).ratchet == {"tiny": "2"}
        shutil.rmtree(root)
    assert seen == sorted(seen) and True in seen and False in seen


@pytest.mark.usefixtures("instant")
@pytest.mark.parametrize("starts", [0, 3])
def test_a_killed_start_of_a_scanner_leaves_one_whole_version(folder: Path, starts: int) -> None:
    """Counting a start, or going back after three, on a slot that is on trial."""
    device = Device(folder, ["1", "2"])
    state = read_state(device.origin)
    assert state.trial is not None
    write_state(device.origin, state.with_trial(state.trial.model_copy(update={"starts": starts})))
    begun = device.copy("whole")
    steps = _steps(begin, begun)
    assert _active(begun) == ("1" if starts == 3 else "2") and steps >= 4
    for at in range(1, steps + 1):
        root = device.copy(at)
        assert run_until_killed(lambda root=root: begin(root), at)[0]  # type: ignore[misc]
        active = _active(root)
        assert active in (("1", "2") if starts == 3 else ("2",)) and _versions(root) == {"a": "1", "b": "2"}
        for _ in range(4):  # whoever starts after that many deaths serves from the old one
            served = begin(root).bundle.manifest.version
        assert served == "1"
        shutil.rmtree(root)


@pytest.mark.usefixtures("instant")
@pytest.mark.slow
def test_kill_upon_kill_always_leaves_one_whole_version(folder: Path) -> None:
    device = Device(folder, ["1"])
    dice = random.Random(23)
    works: list[Callable[[Path], object]] = [
        lambda root: _install(device.bundles["2"], root),
        lambda root: _install(device.bundles["3"], root),
        lambda root: _install(device.bundles["3"], root, healthy=False),
        lambda root: rollback.rollback(root, examine=lambda *_: Health(True)),
        lambda root: begin(root),
    ]
    for round_ in range(10):
        root, highest = device.copy(round_), "1"
        for _ in range(14):
            work = dice.choice(works)

            def attempt(work: Callable[[Path], object] = work, root: Path = root) -> None:
                with contextlib.suppress(EdgedxError):
                    work(root)

            run_until_killed(attempt, dice.randrange(1, 70))
            assert _active(root) in ("1", "2", "3")
            ratchet = read_state(root).ratchet["tiny"]
            assert ratchet >= highest  # it never goes down
            highest = ratchet
        assert {"a", "b"} >= set(_recovered(root))


# Real processes, the real runtime, and the names that the program gives to its steps

KILLER = """
import logging, os, pathlib, signal, sys
step, spoil, *sys.argv[1:] = sys.argv[1:]
class Killer(logging.Handler):
    def emit(self, record):
        if record.args == ("health",) and spoil:
            pathlib.Path(spoil, "current/models/fp32.onnx").write_bytes(b"spoiled")
        if record.args == (step,):
            os.kill(os.getpid(), signal.SIGKILL)
logging.getLogger("edgedx.install").setLevel(logging.DEBUG)
logging.getLogger("edgedx.install").addHandler(Killer())
from edgedx.cli.app import main
main()
"""


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Device:
    device = Device(tmp_path_factory.mktemp("real"), ["1"])
    install_bundle(device.bundles["2"].path, device.origin, examine=examine, prove=prove)
    return device


def _die(root: Path, step: str, *arguments: str, spoil: bool = False) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", KILLER, step, str(root) if spoil else "", *arguments, "--root", str(root)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("step", STEPS)
def test_a_real_installation_killed_at_a_named_step_leaves_one_active_slot(real: Device, step: str) -> None:
    root = real.copy(f"install-{step}")
    died = _die(root, step, "install", str(real.bundles["3"].path))
    assert died.returncode == -9, died.stderr
    switched = STEPS.index(step) > STEPS.index("switch")
    assert _active(root) == ("3" if switched else "2") and examine(root).ok
    if not switched:
        assert _recovered(root) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("step", REVERT_STEPS)
def test_a_real_taking_back_killed_at_a_named_step_leaves_one_active_slot(real: Device, step: str) -> None:
    root = real.copy(f"revert-{step}")
    died = _die(root, step, "install", str(real.bundles["3"].path), spoil=True)
    assert died.returncode == -9, died.stderr
    if step == "revert":  # still switched to what does not verify: a scanner that starts leaves it
        assert active_slot(root) == "a" and not examine(root).ok
        assert begin(root).bundle.manifest.version == "2"
    assert _active(root) == "2" and examine(root).ok
    assert _recovered(root)["b"] == "2"


def test_a_real_installation_that_is_not_healthy_is_taken_back(real: Device) -> None:
    root = real.copy("not-healthy")
    done = _die(root, "never", "install", str(real.bundles["3"].path), spoil=True)
    assert done.returncode == 1 and "taken back" in done.stderr and "slot b is active again" in done.stderr
    assert _active(root) == "2" and _versions(root) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("step", ROLLBACK_STEPS)
def test_a_real_rollback_killed_at_a_named_step_leaves_one_active_slot(real: Device, step: str) -> None:
    root = real.copy(f"rollback-{step}")
    died = _die(root, step, "rollback")
    assert died.returncode == -9, died.stderr
    assert _active(root) == ("1" if step == "record" else "2") and examine(root).ok
    assert _versions(root) == {"a": "1", "b": "2"}


@pytest.mark.parametrize("step", ["switch", "record"])
def test_a_real_scanner_killed_while_it_goes_back_leaves_one_active_slot(real: Device, step: str) -> None:
    root = real.copy(f"scan-{step}")
    state = read_state(root)
    write_state(root, state.with_trial(Trial(slot="b", digest=open_any(root).digest, starts=3)))
    (root.with_name("inbox")).mkdir(exist_ok=True)
    command = [sys.executable, "-c", KILLER, step, "", "scan", str(root.with_name("inbox")), "--once"]
    command += ["--bundle", str(root), "--out", str(root.with_name(f"out-{step}"))]
    died = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert died.returncode == -9, died.stderr
    assert _active(root) == ("1" if step == "record" else "2") and examine(root).ok
