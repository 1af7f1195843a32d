"""Onto a device over ssh: wheels and bundle there, installed offline, proven there, and what was found.

Everything goes below one folder, ROOT::

    wheels-<id>/      while they are being installed; removed after
    venv-<id>/        one environment for each set of wheels; <id> is the hash of its requirements
    venv              symlink to the one in use; switched only when the bundle was installed with the new one
    incoming/         the bundle as it came
    bundle/           what `edgedx install --root` keeps: versions, and which of them is current
    gate-<n>/         labelled samples while they are judged; removed after

A second run with nothing new copies nothing and installs nothing; it proves the device again.
"""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgedx import __version__
from edgedx.core.bundle.manifest import Bundle, open_bundle
from edgedx.core.errors import EdgedxError, GateRefused, InputOutputError, MissingError, StorageError, UsageError
from edgedx.core.files import sha256_file
from edgedx.core.settings.profile import load_profile
from edgedx.device.clinic.promise import ClinicEvaluation, judge_answers
from edgedx.device.clinic.samples import read_samples
from edgedx.lab.run.run import Run

from .device_facts import DeviceFacts, check_fits, probe, space_needed
from .on_device import ANSWERS, BUILD, SWITCH
from .ssh import Remote
from .wheel_target import wheel_target
from .wheelhouse import RECORD, REQUIREMENTS, Wheelhouse, make_wheelhouse, read_wheelhouse

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Pushed:
    """What `push` did, and what the device is found to do.

    Attributes
    ----------
    seconds : dict
        By step: probe, copy, environment, doctor, install, latency, gate, total.
    sent_bytes : int
        Sent over the network, at most.
    doctor, installed, status, latency : dict
        As the commands on the device print them with --json.
    verdict : ClinicEvaluation or None
        None without labelled samples.
    rolled_back : str or None
        What is active again because the gate said no; None where nothing was taken back.
    """

    host: str
    facts: DeviceFacts
    environment: str
    sent_bytes: int
    doctor: dict[str, Any]
    installed: dict[str, Any]
    status: dict[str, Any]
    latency: dict[str, Any]
    verdict: ClinicEvaluation | None
    rolled_back: str | None
    seconds: dict[str, float]


@dataclass(frozen=True)
class Destination:
    """A device and the way to it.

    Attributes
    ----------
    host : str
        ``user@host``, or a name of the ssh configuration.
    folder : str
        Folder there for all of edgedx, absolute or below the home folder.
    port, identity, ssh_config
        Of ssh, where its own configuration does not say them.
    python : str, optional
        Version there, e.g. 3.10, where it has several.
    """

    host: str
    folder: str = "edgedx"
    port: int | None = None
    identity: Path | None = None
    ssh_config: Path | None = None
    python: str | None = None


def push_bundle(
    bundle: Path,
    to: Destination,
    *,
    device: str | None = None,
    wheelhouse: Path | None = None,
    samples: Path | None = None,
    pins: Sequence[Path] = (),
    install_options: Sequence[str] = (),
    tell: Tell = lambda text: None,
) -> Pushed:
    """Put a bundle, or that of a run folder, on a device.

    Without a wheelhouse it takes the one made for such a device before, or makes one. Of a run that serves several
    device profiles, `device` names the one that is meant.

    Other parameters and errors are those of `push`.
    """
    path = Run.open(bundle).bundle(device) if bundle.is_dir() else bundle
    house = read_wheelhouse(wheelhouse) if wheelhouse else None
    profile = open_bundle(path).manifest.profile

    def say(text: str) -> None:
        tell(f"{to.host}: {text}")

    with Remote(to.host, port=to.port, identity=to.identity, ssh_config=to.ssh_config) as remote:
        say("ask what it is")
        facts = probe(remote, to.folder, house.target.python if house else to.python)
        house = house or _house_for(profile, facts, tell)
        return push(remote, path, house, facts, samples=samples, pins=pins, install_options=install_options, tell=say)


def _house_for(profile_name: str, facts: DeviceFacts, tell: Tell) -> Wheelhouse:
    """The wheelhouse that this edgedx made for such a device before, else a new one below ``wheelhouse/``."""
    profile = load_profile(profile_name)
    folder = Path("wheelhouse") / f"{profile.name}-py{facts.python.replace('.', '')}"
    if (folder / RECORD).is_file():
        house = read_wheelhouse(folder)
        if house.record["edgedx"] == __version__:
            tell(f"wheelhouse {folder}, made before")
            return house
    usual = wheel_target(profile, facts.python).glibc
    least = min(usual, facts.glibc) if facts.glibc else usual
    tell(f"no --wheelhouse: making {folder}")
    return make_wheelhouse(profile, folder, python=facts.python, glibc=f"{least[0]}.{least[1]}", overwrite=True)


def push(
    remote: Remote,
    bundle_path: Path,
    house: Wheelhouse,
    facts: DeviceFacts,
    *,
    samples: Path | None = None,
    pins: Sequence[Path] = (),
    install_options: Sequence[str] = (),
    tell: Tell = lambda text: None,
) -> Pushed:
    """Put wheelhouse and bundle on a device, install offline, prove it there.

    Parameters
    ----------
    samples : Path, optional
        Labelled images (see `read_samples`); they are removed from the device afterwards.
    pins : sequence of Path
        Public keys that the device is to trust from now on.
    install_options : sequence of str
        Further options of ``edgedx install`` there.
    tell : callable
        Is told each step in a few words.

    Raises
    ------
    EdgedxError
        Any of our tree; whatever fails, the environment and the bundle in use stay in use. A gate that says no
        after installing is not raised: see ``verdict``; the bundle before is active again then, if there was one.
    """
    bundle = open_bundle(bundle_path)
    labelled = read_samples(samples, bundle.manifest) if samples else []
    clock = _Clock()
    check_fits(facts, house, remote.host)
    environment = f"venv-{house.requirements_sha256[:16]}"
    sent = _environment(remote, house, facts, environment, bundle_path.stat().st_size, clock, tell)
    tool = f"{facts.root}/{environment}/bin/edgedx"
    tell("doctor")
    doctor = _ask(remote, tool, "doctor", "--folder", facts.root, "--json", allowed=(0, 3))
    if not doctor["fit"]:
        lacking = [item for item in doctor["findings"] if item["required"] and item["status"] == "missing"]
        raise MissingError(
            f"{remote.host}: edgedx cannot run there: {', '.join(item['name'] for item in lacking)}",
            next_step=lacking[0]["how"] if lacking else None,
        )
    clock.lap("doctor")
    tell("install")
    name = f"{bundle.digest[:16]}.edgedx"
    incoming = f"{facts.root}/incoming"
    sent += remote.copy({name: (bundle_path, sha256_file(bundle_path))}, incoming, rsync=facts.has_rsync)
    place = f"{facts.root}/bundle"
    _pin(remote, facts, tool, place, pins)
    installed = _ask(remote, tool, "install", f"{incoming}/{name}", "--root", place, "--json", *install_options)
    remote.shell(SWITCH, facts.root, environment, name)
    status = _ask(remote, tool, "status", "--root", place, "--json")
    clock.lap("install")
    tell("latency")
    python = f"{facts.root}/venv/bin/python"
    latency = json.loads(remote.run(python, "-m", "edgedx.device.install.latency", f"{place}/current").stdout)
    clock.lap("latency")
    verdict = rolled_back = None
    if labelled:
        tell(f"gate on {len(labelled)} labelled samples")
        verdict = _gate(remote, facts, tool, bundle, labelled)
        if not verdict.passed and not installed["already"] and status["other"]:
            tell("the gate says no: back to the bundle before")
            rolled_back = str(_ask(remote, tool, "rollback", "--root", place, "--json")["name"])
        clock.lap("gate")
    return Pushed(
        remote.host, facts, environment, sent, doctor, installed, status, latency, verdict, rolled_back,
        clock.finished(),
    )  # fmt: skip


def _pin(remote: Remote, facts: DeviceFacts, tool: str, root: str, pins: Sequence[Path]) -> None:
    for number, pin in enumerate(pins):
        name = f"{number}.pub"
        remote.copy({name: (pin, sha256_file(pin))}, f"{facts.root}/incoming", rsync=facts.has_rsync)
        _ask(remote, tool, "keys", "pin", f"{facts.root}/incoming/{name}", "--root", root, "--json")


def _environment(
    remote: Remote, house: Wheelhouse, facts: DeviceFacts, name: str, bundle_bytes: int, clock: _Clock, tell: Tell
) -> int:
    """Make the environment unless it is there whole; returns the bytes sent."""
    there = f"{facts.root}/{name}"
    if remote.run("test", "-e", f"{there}/.whole", check=False).returncode == 0:
        clock.lap("copy")
        clock.lap("environment")
        return 0
    wheels = f"{facts.root}/wheels-{name.removeprefix('venv-')}"
    needed = space_needed(house, bundle_bytes)
    if facts.free_bytes < needed:
        raise StorageError(
            f"{remote.host}: {facts.free_bytes / 1e6:.0f} MB free at {facts.root}, {needed / 1e6:.0f} MB needed",
            next_step="free space there, or name a folder on another disk with --folder",
        )
    tell(f"copy {len(house.files)} wheels, {house.bytes / 1e6:.0f} MB")
    files = {file.file: (house.folder / file.file, file.sha256) for file in house.files}
    files[REQUIREMENTS] = (house.folder / REQUIREMENTS, house.requirements_sha256)
    sent = remote.copy(files, wheels, rsync=facts.has_rsync)
    clock.lap("copy")
    tell("install the wheels, offline")
    # TensorRT comes with JetPack, outside of any environment.
    site = ["--system-site-packages"] if house.record["family"] == "jetson" else []
    done = remote.shell(BUILD, facts.root, name, wheels, house.pip, facts.executable, *site, check=False)
    if done.returncode:
        raise _unbuilt(remote, done)
    clock.lap("environment")
    return sent


def _unbuilt(remote: Remote, done: Any) -> EdgedxError:
    if done.returncode == 75:
        return UsageError(f"{remote.host}: another push is at work there", next_step="again when it is done")
    return remote.failure(done)


def _ask(remote: Remote, *command: str, allowed: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Run an edgedx command there and read the JSON that it prints; its error becomes ours."""
    done = remote.run(*command, check=False)
    if done.returncode in allowed:
        try:
            return dict(json.loads(done.stdout))
        except ValueError as error:
            raise InputOutputError(f"{remote.host}: {shlex.join(command)} printed no JSON") from error
    said = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    if not said:
        raise remote.failure(done)
    steps = [line.partition(":")[2].strip() for line in done.stderr.splitlines() if line.startswith("next:")]
    kinds: dict[int, type[EdgedxError]] = {1: GateRefused, 2: UsageError, 3: MissingError, 5: InputOutputError}
    kind = kinds.get(done.returncode, EdgedxError)
    raise kind(f"{remote.host}: {said[0]}", next_step=f"there: {steps[0]}" if steps else None)


def _gate(remote: Remote, facts: DeviceFacts, tool: str, bundle: Bundle, samples: Sequence[Any]) -> ClinicEvaluation:
    """Scan the samples there, as a clinic's images will be, and take samples and results away again."""
    folder = remote.shell('mktemp -d "$1/gate-XXXXXXXX"', facts.root).stdout.strip()
    try:
        files = {sample.name: (sample.path, sample.sha256) for sample in samples}
        remote.copy(files, f"{folder}/inbox", rsync=facts.has_rsync)
        remote.run(tool, "scan", f"{folder}/inbox", "--bundle", f"{facts.root}/bundle/current", "--out",
                   f"{folder}/out", "--once", "--json")  # fmt: skip
        listed = remote.run(facts.executable, "-c", ANSWERS, f"{folder}/out/results").stdout
    finally:
        remote.run("rm", "-rf", folder, check=False)
    return judge_answers(bundle.manifest, samples, json.loads(listed))


class _Clock:
    """Seconds of each step."""

    def __init__(self) -> None:
        self._begun = self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def lap(self, name: str) -> None:
        now = time.monotonic()
        self.seconds[name] = round(self.seconds.get(name, 0.0) + now - self._last, 3)
        self._last = now

    def finished(self) -> dict[str, float]:
        return {**self.seconds, "total": round(time.monotonic() - self._begun, 3)}
