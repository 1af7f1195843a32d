"""Choose and fetch wheels for another machine than this one, and prove that nothing is lacking there."""

from __future__ import annotations

import email
import re
import subprocess
import zipfile
from collections.abc import Sequence
from email.message import Message
from pathlib import Path

from edgedx.core.errors import InputOutputError, MissingError

from .own_wheel import pip_command
from .wheel_target import WheelTarget


def download(target: WheelTarget, wanted: Sequence[str], folder: Path, constraint: Path | None = None) -> None:
    """Let pip choose and fetch wheels for another machine than this one; nothing is ever built from source.

    Raises
    ------
    MissingError
        A package has no wheel that fits, or versions contradict one another.
    InputOutputError
        pip failed otherwise, most often for want of a network.
    """
    command = [*pip_command(), "download", "--quiet", "--only-binary=:all:", "--dest", str(folder)]
    command += ["--implementation", "cp", "--python-version", target.python]
    command += [part for abi in target.abis for part in ("--abi", abi)]
    command += [part for platform in target.platforms for part in ("--platform", platform)]
    command += ["--constraint", str(constraint)] if constraint else []
    done = subprocess.run([*command, *wanted], capture_output=True, text=True, check=False)
    if done.returncode:
        _explain(target, done.stderr + done.stdout)


def _explain(target: WheelTarget, text: str) -> None:
    absent = re.search(r"No matching distribution found for (.+)", text)
    network = re.search(
        r"(?i)name resolution|connection (?:broken|refused|timed out)|max retries|ConnectionError", text
    )
    if network:  # asked first: without an index nothing matches either
        raise InputOutputError(
            f"the package index cannot be reached: {_last_error(text)}",
            next_step="make the wheelhouse on a machine with internet, then carry its folder",
        )
    if absent:
        raise MissingError(
            f"no wheel of {absent[1].strip()} for {target}",
            next_step="choose another --python, or give --glibc as `ldd --version` prints it on the device",
        )
    if "ResolutionImpossible" in text or "conflicting dependencies" in text:
        raise MissingError(f"versions contradict one another for {target}: {_last_error(text)}",
                           next_step="loosen the constraints file")  # fmt: skip
    raise InputOutputError(f"pip download failed: {_last_error(text)}", next_step="see the message of pip")


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no message"])[-1][:300]


def complete(target: WheelTarget, folder: Path, wheel: Path, extras: set[str], constraint: Path | None) -> None:
    """Fetch what pip left out: it asks the markers of requirements about this machine, not about the device."""
    for _ in range(10):
        lacking = missing_requirements(target, folder, wheel, extras)
        if not lacking:
            return
        download(target, [str(wheel), *lacking], folder, constraint)
    raise MissingError(f"the wheelhouse stays incomplete for {target}: {', '.join(lacking)}")


def missing_requirements(target: WheelTarget, folder: Path, wheel: Path, extras: set[str]) -> list[str]:
    """Requirements of edgedx, and of what it requires, that no wheel of `folder` meets on the device.

    Raises
    ------
    MissingError
        A wheel in the folder has tags that the device does not take.
    """
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name
    from packaging.version import Version

    _check_tags(target, folder)
    known = {canonicalize_name(str(data["Name"])): data for data in map(metadata, sorted(folder.glob("*.whl")))}
    queue: list[tuple[str, frozenset[str]]] = [(canonicalize_name(str(metadata(wheel)["Name"])), frozenset(extras))]
    seen: set[tuple[str, frozenset[str]]] = set()
    lacking: list[str] = []
    while queue:
        name, asked = one = queue.pop()
        if one in seen:
            continue
        seen.add(one)
        for text in known[name].get_all("Requires-Dist") or []:
            needed = Requirement(text)
            markers = [{**target.markers, "extra": extra} for extra in (*asked, "")]
            if needed.marker and not any(needed.marker.evaluate(environment) for environment in markers):
                continue
            key = canonicalize_name(needed.name)
            if key in known and needed.specifier.contains(Version(str(known[key]["Version"])), prereleases=True):
                queue.append((key, frozenset(needed.extras)))
            else:
                lacking.append(f"{needed.name}{needed.specifier}")
    return sorted(set(lacking))


def _check_tags(target: WheelTarget, folder: Path) -> None:
    from packaging.tags import compatible_tags, cpython_tags
    from packaging.utils import parse_wheel_filename

    version = tuple(int(part) for part in target.python.split("."))
    taken = {*cpython_tags(version, [target.abis[0]], target.platforms),
             *compatible_tags(version, f"cp{version[0]}{version[1]}", target.platforms)}  # fmt: skip
    for path in sorted(folder.glob("*.whl")):
        if not parse_wheel_filename(path.name)[3] & taken:
            raise MissingError(f"{path.name} does not fit {target}", next_step="report this with pip's version")


def needed_glibc(names: Sequence[str]) -> tuple[int, int]:
    """Oldest glibc that all these wheels load with, by their file names; (2, 0) where none has native code.

    It may be older than the one they were chosen for. A wheel with several tags is content with the oldest of them.
    """
    from packaging.utils import parse_wheel_filename

    legacy = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}
    needed = (2, 0)
    for name in names:
        wants = []
        for tag in parse_wheel_filename(name)[3]:
            if found := re.match(r"manylinux_(\d+)_(\d+)_", tag.platform):
                wants.append((int(found[1]), int(found[2])))
            elif (first := tag.platform.partition("_")[0]) in legacy:
                wants.append(legacy[first])
        needed = max(needed, min(wants, default=needed))
    return needed


def metadata(wheel: Path) -> Message:
    """METADATA of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(item for item in archive.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", item))
        return email.message_from_bytes(archive.read(name))
