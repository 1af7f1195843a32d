"""The status files of many devices: read, verified, the newest of each, and what every device should have installed."""

from __future__ import annotations

import calendar
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgedx.core.bundle.signing import PublicKey, read_public
from edgedx.core.errors import EdgedxError, InputOutputError
from edgedx.core.files import read_regular
from edgedx.core.progress import track
from edgedx.core.version import version_key
from edgedx.device.fleet.status import ENDING, MAX_BYTES, unseal
from edgedx.device.fleet.summary import Summary
from edgedx.device.fleet.terms import Release, place_in_rings


@dataclass(frozen=True)
class Heard:
    """The newest status of a device.

    Attributes
    ----------
    age_days : float
        Since it was written; since its file was, where the device's clock was not set.
    proven : bool
        It is signed with the key that is known of this device.
    """

    summary: Summary
    age_days: float
    proven: bool


@dataclass(frozen=True)
class Fleet:
    """All that is known.

    Attributes
    ----------
    heard : dict
        By name.
    known : tuple of str
        Names of the devices whose keys are known, heard of or not; empty where no keys were given.
    unreadable : list of str
        Files that are no status, with why.
    """

    heard: dict[str, Heard]
    known: tuple[str, ...]
    unreadable: list[str] = field(default_factory=list)

    @property
    def names(self) -> list[str]:
        """Every device."""
        return sorted({*self.known, *self.heard})


def read_fleet(folder: Path, boxes: Path | None = None, *, now: float | None = None) -> Fleet:
    """Read every status file below a folder.

    Parameters
    ----------
    boxes : Path, optional
        Folder with the ``.pub`` of every device, named as it is.
    now : float, optional
        Seconds since 1970.

    Raises
    ------
    InputOutputError
        There is no status file and no known device, or a key is damaged.
    """
    keys = {} if boxes is None else _keys(boxes)
    moment, heard, unreadable = time.time() if now is None else now, dict[str, Heard](), list[str]()
    files = sorted(folder.rglob(f"*{ENDING}")) if folder.is_dir() else []
    if not files and not keys:
        raise InputOutputError(
            f"no status file (*{ENDING}) in {folder}", next_step="`edgedx fleet status` on a device writes one"
        )
    for file in track(files, "reading status files", len(files)):
        try:
            summary, signer = unseal(read_regular(file, MAX_BYTES), list(keys.values()))
        except EdgedxError as error:
            unreadable.append(f"{file.name}: {error.message}")
            continue
        proven = signer is not None and signer.name == summary.box
        if keys and not proven:
            whose = f"is signed by the key of {signer}" if signer else "is signed by a key that is not known"
            unreadable.append(f"{file.name}: it says that it is of {summary.box}, and {whose}")
            continue
        before = heard.get(summary.box)
        if before is None or before.summary.sequence < summary.sequence:
            heard[summary.box] = Heard(summary, _age(summary, file, moment), proven)
    return Fleet(heard, tuple(sorted(keys)), unreadable)


def _keys(folder: Path) -> dict[str, PublicKey]:
    if not folder.is_dir():
        raise InputOutputError(f"no folder {folder}", next_step="put every device's .pub there: ROOT/fleet/NAME.pub")
    keys = [read_public(path) for path in sorted(folder.rglob("*.pub"))]
    return {key.name: key for key in keys}


def _age(summary: Summary, file: Path, moment: float) -> float:
    written = file.stat().st_mtime
    if summary.clock_trusted and summary.written:
        written = calendar.timegm(time.strptime(summary.written, "%Y-%m-%dT%H:%M:%SZ"))
    return max(0.0, (moment - written) / 86400)


def expected(fleet: Fleet, releases: Sequence[Release] | None) -> dict[str, str]:
    """Version that each device should have, by its name: the newest that is out to it, else what most of its kind have.

    A device that has no model, or one that the repository does not know, is not in it.
    """
    kinds: dict[tuple[str, str], Counter[str]] = {}
    for one in fleet.heard.values():
        if one.summary.model is not None:
            kinds.setdefault(_kind(one.summary), Counter())[one.summary.model.version] += 1
    found = {}
    for name, one in fleet.heard.items():
        if one.summary.model is None:
            continue
        if releases is None:
            version: str | None = kinds[_kind(one.summary)].most_common(1)[0][0]
        else:
            version = _offered(releases, *_kind(one.summary), place_in_rings(name))
        if version is not None:
            found[name] = version
    return found


def _kind(summary: Summary) -> tuple[str, str]:
    model = summary.model
    return ("", "") if model is None else (model.name, model.profile)


def _offered(releases: Sequence[Release], name: str, profile: str, place: float) -> str | None:
    versions = [
        one.facts.version
        for one in releases
        if (one.facts.name, one.facts.profile) == (name, profile) and place < one.facts.ring
    ]
    return max(versions, key=version_key, default=None)


def spread(fleet: Fleet) -> Mapping[str, list[tuple[str, int]]]:
    """Versions with the number of devices that have each, newest first, by model."""
    counts: dict[str, Counter[str]] = {}
    for one in fleet.heard.values():
        model = one.summary.model
        counts.setdefault(model.name if model else "no model", Counter())[model.version if model else "-"] += 1
    return {
        name: sorted(found.items(), key=lambda item: version_key(item[0]) if item[0] != "-" else (), reverse=True)
        for name, found in sorted(counts.items())
    }
