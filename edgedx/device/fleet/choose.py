"""Which release a device takes: a pure decision on what is offered, what is installed and what happened before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from edgedx.core.errors import ProfileError
from edgedx.core.version import version_key
from edgedx.device.install.status import DeviceStatus

from .places import Refusal
from .terms import Release

Verdict = Literal["take", "current", "later", "left", "refused", "older"]


@dataclass(frozen=True)
class Choice:
    """What is to be done, and why in a sentence; `release` is the one that the sentence is about."""

    verdict: Verdict
    release: Release
    why: str


def candidates(
    releases: Sequence[Release], status: DeviceStatus, machine: str, *, name: str | None, profile: str | None
) -> list[Release]:
    """Releases of the model and for the kind of device that this is.

    Parameters
    ----------
    machine : str
        Profile that fits this machine; asked only where nothing is installed and several profiles are offered.
    name, profile : str, optional
        Said by the operator; those of the active bundle, or the only ones, unless given.

    Raises
    ------
    ProfileError
        There is none, or it is not clear which.
    """
    active = status.active
    names = sorted({one.facts.name for one in releases})
    if not names:
        raise ProfileError("the repository has no release", next_step="edgedx fleet publish REPO BUNDLE")
    known = active.name if active is not None and active.name in names else None
    chosen = name or known or (names[0] if len(names) == 1 else None)
    if chosen is None or chosen not in names:
        what = f"has no {name}" if name else "has several models"
        raise ProfileError(f"the repository {what}: {', '.join(names)}", next_step="say which: --model NAME")
    of_name = [one for one in releases if one.facts.name == chosen]
    profiles = sorted({one.facts.profile for one in of_name})
    if profile is None:
        there = active.profile if active is not None else None
        wanted = there if there in profiles else machine if machine in profiles else None
        profile = wanted or (profiles[0] if len(profiles) == 1 else None)
    if profile not in profiles:
        raise ProfileError(
            f"the repository has {chosen} for {', '.join(profiles)}, and this machine is {profile or machine}",
            next_step=f"publish one for it (`edgedx deploy RUN --device {profile or machine}`), or name one that works "
            "here: --profile NAME",
        )
    return [one for one in of_name if one.facts.profile == profile]


def choose(
    offered: Sequence[Release],
    status: DeviceStatus,
    place: float,
    refused: Mapping[str, Refusal],
    *,
    again: bool = False,
) -> Choice:
    """Decide among `candidates`, of which there is one at least.

    Parameters
    ----------
    place : float
        Of this device in the rings (see `place_in_rings`).
    refused : mapping
        What did not pass here before, by SHA-256, and would not pass now for the same reason.
    again : bool
        Try what was left or refused once more.
    """
    newest = max(offered, key=lambda one: version_key(one.facts.version))
    mine = [one for one in offered if place < one.facts.ring]
    best = max(mine, key=lambda one: version_key(one.facts.version)) if mine else None
    name, active = newest.facts.name, status.active
    version = active.version if active is not None and active.name == name and not active.problem else None
    now = version_key(version) if version else ()
    highest = status.ratchet.get(name)
    if best is None or version_key(best.facts.version) < max(now, version_key(highest) if highest else ()):
        return _nothing_higher(newest, best, version, highest, place)
    key = version_key(best.facts.version)
    if active is not None and active.digest == best.facts.digest and not active.problem:
        if newest is not best and version_key(newest.facts.version) > key:
            return _later(newest, version, place)
        return Choice("current", best, f"{best.title} is installed, and nothing newer is offered")
    if best.sha256 in refused and not again:
        before = refused[best.sha256]
        return Choice("refused", best, f"{best.title} did not pass on this device on {before.at[:10]}: {before.why}")
    if highest is not None and key == version_key(highest) and version is not None and now < key and not again:
        last = next((one for one in reversed(status.history) if one.action in ("rollback", "revert")), None)
        on = f" on {last.at[:10]}" if last else ""
        return Choice("left", best, f"{best.title} was active here and was left{on}, for {version}")
    return Choice("take", best, f"{best.title} is newer than {version or 'nothing'}")


def _nothing_higher(
    newest: Release, best: Release | None, version: str | None, highest: str | None, place: float
) -> Choice:
    bar = version_key(highest or version or "0")
    if version_key(newest.facts.version) > bar:
        return _later(newest, version, place)
    if best is None and version is None:
        return Choice("later", newest, f"{newest.title} is withdrawn, or not out to this device yet")
    if version is not None and version_key(newest.facts.version) == version_key(version):
        ring = newest.facts.ring
        out = f"is out to {ring} % of the devices" if ring else "was withdrawn since: see whether to `edgedx rollback`"
        return Choice("current", newest, f"{newest.title} is installed, and {out}")
    return Choice(
        "older",
        best or newest,
        f"what is offered, {(best or newest).title}, is older than what this device has had: "
        f"{highest or version}; {_stays(version)}",
    )


def _later(newest: Release, version: str | None, place: float) -> Choice:
    ring = newest.facts.ring
    out = f"out to {ring} % of the devices, and this one stands at {place:.1f} %" if ring else "withdrawn"
    return Choice("later", newest, f"{newest.title} is {out}; {_stays(version)}")


def _stays(version: str | None) -> str:
    return f"{version} stays" if version else "nothing is installed"
