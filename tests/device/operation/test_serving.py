"""A scanner on an installed bundle: trial, confirmation, and going back where a slot does not hold up."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bundles import GOLDEN, MODEL, golden, make_key, manifest, model, png, write_tiny

from edgedx.core.bundle.manifest import Golden, Variant, open_bundle, write_bundle
from edgedx.core.errors import BundleError, GateRefused, InputOutputError, UsageError
from edgedx.core.files import atomic_write, lock, private_files
from edgedx.device.install.active import open_any
from edgedx.device.install.health import examine, prove
from edgedx.device.install.install import install_bundle
from edgedx.device.install.slots import active_slot, hold
from edgedx.device.install.state import read_state
from edgedx.device.install.trust import pin, unpin
from edgedx.device.operation.audit import AuditLog
from edgedx.device.operation.heartbeat import Heartbeat
from edgedx.device.operation.serving import begin, serve
from edgedx.device.scanner.scanner import Options, Scanner

QUICK = Options(interval=0.1, settle=0.05, disk_floor=0)


class Clinic:
    """A device with version 1 confirmed in slot a and version 2 on trial in slot b."""

    def __init__(self, folder: Path, versions: tuple[str, ...] = ("1", "2")) -> None:
        self.folder, self.root, self.inbox, self.out = folder, folder / "device", folder / "inbox", folder / "out"
        self.inbox.mkdir()
        self.told: list[str] = []
        for version in versions:
            self.install(version)

    def install(self, version: str) -> None:
        path = self.folder / f"{version}.edgedx"
        write_tiny(path, version=version)
        install_bundle(path, self.root, allow_unsigned=True, examine=examine, prove=prove)

    def starts(self) -> int | None:
        trial = read_state(self.root).trial
        return None if trial is None or trial.slot != active_slot(self.root) else trial.starts

    def version(self) -> str:
        return open_any(self.root).manifest.version

    @contextmanager
    def scanner(self, **options: object) -> Iterator[Scanner]:
        with serve(self.inbox, self.root, self.out, options=QUICK, tell=self.told.append, **options) as scanner:  # type: ignore[arg-type]
            yield scanner

    def scan(self) -> str:
        """Scan once; returns the version that answered."""
        with self.scanner() as scanner:
            scanner.run_once()
            return scanner.bundle.manifest.version


@pytest.fixture
def clinic(tmp_path: Path) -> Clinic:
    return Clinic(tmp_path)


def test_the_first_answer_confirms_a_slot(clinic: Clinic) -> None:
    png(clinic.inbox / "a.png", bright=True)
    assert clinic.starts() == 0
    assert clinic.scan() == "2"
    assert clinic.starts() is None and read_state(clinic.root).history[-1].action == "confirm"
    assert clinic.told == []


def test_a_file_that_cannot_be_read_confirms_nothing(clinic: Clinic) -> None:
    (clinic.inbox / "letter.txt").write_text("Dear colleague")
    assert clinic.scan() == "2"
    assert clinic.starts() == 0  # and it ended in order, so it does not count against the slot


def test_scans_of_an_empty_inbox_do_not_use_up_the_trial(clinic: Clinic) -> None:
    for _ in range(5):
        assert clinic.scan() == "2"
    assert clinic.starts() == 0 and clinic.told == []


def test_after_three_starts_without_an_answer_the_old_slot_is_active_again(clinic: Clinic) -> None:
    for number in range(3):
        assert begin(clinic.root).bundle.manifest.version == "2"  # and then the process dies
        assert clinic.starts() == number + 1
    assert clinic.scan() == "1"
    assert clinic.version() == "1" and clinic.starts() is None
    assert any("3 starts without a result" in line for line in clinic.told)
    assert any("tiny 1" in line and "edgedx status" in line for line in clinic.told)
    event = read_state(clinic.root).history[-1]
    assert (event.action, event.slot, event.version) == ("revert", "a", "1") and "3 starts" in event.why
    assert read_state(clinic.root).ratchet == {"tiny": "2"}


def test_a_real_scanner_that_is_killed_counts_and_one_that_is_stopped_does_not(clinic: Clinic) -> None:
    command = [sys.executable, "-m", "edgedx", "scan", str(clinic.inbox), "--bundle", str(clinic.root)]
    command += ["--out", str(clinic.out), "--interval", "0.1"]
    for signal_, starts in ((9, 1), (15, 1), (9, 2)):
        running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            _wait_until(lambda running=running: _scans(clinic.out, running))  # type: ignore[misc]
            running.send_signal(signal_)
            running.communicate(timeout=60)
        finally:
            running.kill()
        assert clinic.starts() == starts


def _scans(out: Path, running: subprocess.Popen[bytes]) -> bool:
    assert running.poll() is None, running.stderr and running.stderr.read()
    try:
        with lock(out):
            return False
    except UsageError:
        return (out / "journal.sqlite").exists()


def _wait_until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not reached():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)  # it takes the lock before it installs its signal handlers


def test_a_model_that_breaks_while_scanning_counts(clinic: Clinic) -> None:
    for _ in range(3):
        with pytest.raises(RuntimeError), clinic.scanner():
            raise RuntimeError("a bug of the runtime")
    assert clinic.scan() == "1"


def test_a_wrong_call_does_not_count(clinic: Clinic) -> None:
    for _ in range(4):
        with pytest.raises(UsageError), clinic.scanner(operating_point="none such"):
            pass
        with pytest.raises(InputOutputError), serve(clinic.folder / "absent", clinic.root, clinic.out):
            pass
        with lock(clinic.out), pytest.raises(UsageError), clinic.scanner():
            pass
    assert clinic.starts() == 0


@pytest.mark.parametrize("confirmed", [False, True])
def test_a_slot_damaged_on_disk_is_left(clinic: Clinic, confirmed: bool) -> None:
    if confirmed:
        png(clinic.inbox / "a.png")
        clinic.scan()
    (clinic.root / "current" / MODEL).write_bytes(b"rotten")
    png(clinic.inbox / "b.png", 2)
    assert clinic.scan() == "1" and clinic.version() == "1"
    assert any(MODEL in line for line in clinic.told)


def test_where_both_slots_are_damaged_nothing_is_served(clinic: Clinic) -> None:
    for slot in ("a", "b"):
        (clinic.root / "slots" / slot / MODEL).write_bytes(b"rotten")
    with pytest.raises(BundleError, match=MODEL):
        clinic.scan()
    assert active_slot(clinic.root) == "b" and not clinic.out.exists()


def _not_here_any_more(root: Path) -> None:
    """The golden samples in slot b were right at installation; now this machine computes other values."""
    write_tiny(root.parent / "x.edgedx", version="2", samples=golden(model(), shift=0.5))
    bundle = open_bundle(root.parent / "x.edgedx")
    for name in bundle.names():
        (root / "slots/b" / name).write_bytes(bundle.read(name))
    (root / "slots/b/manifest.json").write_bytes(bundle.raw_manifest)
    state = root / "state.json"
    before = open_bundle(root.parent / "2.edgedx").digest
    state.write_text(state.read_text().replace(before, bundle.digest))


def test_a_slot_on_trial_that_does_not_activate_is_left(clinic: Clinic) -> None:
    _not_here_any_more(clinic.root)
    assert clinic.scan() == "1" and clinic.version() == "1"
    assert any("other values" in line for line in clinic.told)


def test_a_confirmed_slot_that_does_not_activate_is_not_left_in_silence(clinic: Clinic) -> None:
    png(clinic.inbox / "a.png")
    clinic.scan()
    _not_here_any_more(clinic.root)
    with pytest.raises(GateRefused, match="other values"):
        clinic.scan()
    assert clinic.version() == "2"


def test_a_first_installation_has_nothing_to_go_back_to(tmp_path: Path) -> None:
    clinic = Clinic(tmp_path, ("1",))
    for _ in range(5):
        assert begin(clinic.root).bundle.manifest.version == "1"
    png(clinic.inbox / "a.png")
    assert clinic.scan() == "1" and clinic.starts() is None


def test_while_an_installation_is_at_work_a_confirmed_slot_is_served(clinic: Clinic) -> None:
    png(clinic.inbox / "a.png")
    clinic.scan()
    with hold(clinic.root):
        assert clinic.scan() == "2"


def test_a_root_that_cannot_be_written_is_served_and_says_that_it_does_not_count(
    clinic: Clinic, small_disk: Path
) -> None:
    shutil.copytree(clinic.root, small_disk / "device", symlinks=True)
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    clinic.root = small_disk / "device"
    png(clinic.inbox / "a.png")
    assert clinic.scan() == "2"
    assert any("not counted" in line for line in clinic.told)


def test_a_full_disk_does_not_keep_a_scanner_from_starting(clinic: Clinic, small_disk: Path) -> None:
    shutil.copytree(clinic.root, small_disk / "device", symlinks=True)
    clinic.root = small_disk / "device"
    with (small_disk / "ballast").open("wb") as stream:
        free = os.statvfs(small_disk)
        stream.write(bytes(free.f_bavail * free.f_frsize))
    png(clinic.inbox / "a.png")
    assert clinic.scan() == "2"
    assert any("not counted" in line for line in clinic.told)


def test_the_variant_that_was_proven_serves(tmp_path: Path) -> None:
    network = model()
    variants = {
        name: Variant(file=MODEL, precision="fp32", scheme="float", purpose="cpu") for name in ("fp32", "other")
    }
    samples = golden(network)
    with np.load(io.BytesIO(samples)) as archive:
        arrays = dict(archive) | {"logits_other": archive["logits_fp32"]}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    tolerance = Golden(file=GOLDEN, count=2, tolerance={"fp32": 1e-4, "other": 1e-4})
    made = manifest(variants=variants, golden=tolerance)
    write_bundle(tmp_path / "a.edgedx", made, {MODEL: network, GOLDEN: stream.getvalue()})
    clinic = Clinic(tmp_path, ())
    install_bundle(
        tmp_path / "a.edgedx", clinic.root, variant="other", allow_unsigned=True, examine=examine, prove=prove
    )
    with clinic.scanner() as scanner:
        assert scanner.variant == "other"
    with clinic.scanner(variant="fp32") as scanner:
        assert scanner.variant == "fp32"


# Trust, each time a slot is opened


@pytest.fixture
def signed(tmp_path: Path) -> Clinic:
    """Version 1 signed by both keys, version 2 by the old one alone, and on trial."""
    old, new = make_key(tmp_path, "old"), make_key(tmp_path, "new")
    clinic = Clinic(tmp_path, ())
    for key in ("old", "new"):
        pin(clinic.root, tmp_path / f"{key}.pub")
    for version, keys in (("1", [old, new]), ("2", [old])):
        write_tiny(tmp_path / f"{version}.edgedx", version=version, keys=keys)
        install_bundle(tmp_path / f"{version}.edgedx", clinic.root, examine=examine, prove=prove)
    return clinic


def test_a_slot_whose_key_is_trusted_no_longer_is_left(signed: Clinic) -> None:
    unpin(signed.root, open_any(signed.root).signed_by.id)  # type: ignore[union-attr]
    with pytest.raises(GateRefused, match="trusts only new"):
        open_any(signed.root)
    assert signed.scan() == "1"
    assert any("trusts only new" in line for line in signed.told)


def test_a_manifest_exchanged_on_disk_is_found_although_its_hashes_are_right(signed: Clinic) -> None:
    """Who can write a slot can make every hash right, and still cannot sign."""
    write_tiny(signed.folder / "evil.edgedx", version="2", network=model(-1.0))
    evil = open_bundle(signed.folder / "evil.edgedx")
    for name in evil.names():
        (signed.root / "current" / name).write_bytes(evil.read(name))
    (signed.root / "current/manifest.json").write_bytes(evil.raw_manifest)
    with pytest.raises(GateRefused, match="does not fit"):
        open_any(signed.root)
    assert signed.scan() == "1"


def test_a_damaged_pin_serves_nothing(signed: Clinic) -> None:
    next((signed.root / "trust").iterdir()).write_text("spoiled")
    with pytest.raises(InputOutputError, match="public key"):
        signed.scan()


@pytest.mark.parametrize(("given", "forbidden"), [(0o000, 0o027), (0o022, 0o027), (0o077, 0o077)])
def test_what_a_scanner_writes_others_cannot_read_whatever_it_was_started_with(
    clinic: Clinic, given: int, forbidden: int
) -> None:
    """The unit has UMask=; a scanner that is started by hand, by cron or in a container has none."""
    before = os.umask(given)
    try:
        png(clinic.inbox / "a.png", bright=True)
        (clinic.inbox / "sub").mkdir()
        (clinic.inbox / "sub/letter.txt").write_text("Dear colleague")
        audited = replace(QUICK, sinks=lambda bundle, out: [Heartbeat(out), AuditLog(out, bundle.digest)])
        with serve(clinic.inbox, clinic.root, clinic.out, options=audited) as scanner:
            scanner.run_once()
            Heartbeat(clinic.out).beat(scanner)
        assert os.umask(given) == given, "and the caller's is as it was"
    finally:
        os.umask(before)
    made = [path for path in clinic.out.rglob("*") if not path.name.endswith("letter.txt")]  # that one was only moved
    assert len(made) > 8
    assert {
        path.name: oct(path.stat().st_mode) for path in [clinic.out, *made] if path.stat().st_mode & forbidden
    } == {}


def test_a_child_of_the_scanner_has_its_umask_and_threads_see_no_other(tmp_path: Path) -> None:
    with private_files():
        with atomic_write(tmp_path / "file") as stream:
            stream.write(b"x")
        made = subprocess.run(
            ["/bin/sh", "-c", f"umask; : > {tmp_path}/child"], capture_output=True, text=True, check=True
        )
    assert made.stdout.strip() == "0027"
    assert [oct((tmp_path / name).stat().st_mode & 0o777) for name in ("file", "child")] == ["0o640", "0o640"]
