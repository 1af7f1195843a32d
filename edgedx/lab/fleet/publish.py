"""Put bundles into a repository, say which devices may take them, and keep the repository fresh."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import Snapshot, TargetFile, Timestamp

from edgedx.core.bundle.manifest import open_bundle
from edgedx.core.errors import AlreadyExists, UsageError
from edgedx.core.files import read_regular, sha256_bytes, write_bytes
from edgedx.device.fleet.terms import CUSTOM, RELEASES, Facts, Release, release_of

from .keys import Keyring, title
from .repository import Repository, open_repository, today

MAX_BUNDLE = 1 << 31
SOON_DAYS = 14
"""A repository that expires within these days is told of."""


@dataclass(frozen=True)
class Published:
    """A release in the repository; `signers` is how many keys have signed the bundle itself."""

    release: Release
    file: Path
    signers: int


@dataclass(frozen=True)
class RoleStatus:
    """A role of the repository: version, until when it is believed, its keys and how many must sign."""

    role: str
    version: int
    expires: datetime
    days_left: int
    threshold: int
    keys: tuple[str, ...]


def publish(folder: Path, bundle: Path, keyring: Keyring, *, ring: int = 1, now: datetime | None = None) -> Published:
    """Copy a bundle into the repository and sign for it.

    Parameters
    ----------
    ring : int
        Percent of the devices that may take it at first.

    Raises
    ------
    AlreadyExists
        This name, version and profile is there with other content.
    BundleError, UsageError
        It is no bundle; a key is not at hand.
    """
    _check_ring(ring)
    repository = open_repository(folder)
    opened = open_bundle(bundle)
    manifest = opened.manifest
    facts = Facts(
        name=manifest.name, version=manifest.version, profile=manifest.profile, digest=opened.digest, ring=ring
    )
    path = f"bundles/{manifest.name}-{manifest.version}-{manifest.profile.lower()}.edgedx"
    data = read_regular(bundle, MAX_BUNDLE)
    there = repository.releases.targets.get(path)
    if there is not None and release_of(there).facts.digest != opened.digest:
        raise AlreadyExists(
            f"{release_of(there).title} is published already, with other content",
            next_step="raise the version in the recipe, then deploy and publish that: devices have the other one",
        )
    custom = {"custom": {CUSTOM: facts.model_dump()}}
    target = TargetFile(len(data), {"sha256": sha256_bytes(data)}, path, custom)
    release = release_of(target)
    file = folder / release.address
    write_bytes(file, data)
    repository.releases.targets[path] = target
    repository.dirty.add(RELEASES)
    repository.save(keyring, now=now)
    return Published(release, file, len(opened.signatures))


def set_ring(folder: Path, which: str, ring: int, keyring: Keyring, *, now: datetime | None = None) -> list[Release]:
    """Offer a release to more devices, or to fewer; 0 withdraws it from those that do not have it yet.

    Parameters
    ----------
    which : str
        ``NAME-VERSION``, for all profiles, or ``NAME-VERSION-PROFILE``.
    """
    _check_ring(ring)
    repository = open_repository(folder)
    found = [one for one in _releases(repository) if which in _names(one)]
    if not found:
        known = ", ".join(sorted({_names(one)[0] for one in _releases(repository)})) or "nothing"
        raise UsageError(f"{folder} has no release {which}; it has {known}", next_step="edgedx fleet list REPO")
    for one in found:
        target = repository.releases.targets[one.path]
        custom = {CUSTOM: one.facts.model_copy(update={"ring": ring}).model_dump()}
        target.unrecognized_fields["custom"] = custom
    repository.dirty.add(RELEASES)
    repository.save(keyring, now=now)
    return [release_of(repository.releases.targets[one.path]) for one in found]


def refresh(folder: Path, keyring: Keyring, *, days: int = 90, now: datetime | None = None) -> RoleStatus:
    """Say anew that this is the newest state, for so many days; needs the online keys alone.

    Raises
    ------
    UsageError
        A key is not at hand, or the days are none.
    """
    if not 1 <= days <= 366:
        raise UsageError(f"--days {days}", next_step="give 1 to 366: how old a stick may be before devices refuse it")
    repository = open_repository(folder)
    repository.dirty |= {Snapshot.type, Timestamp.type}
    repository.save(keyring, days={Snapshot.type: days, Timestamp.type: days}, now=now)
    return roles(repository, now=now)[-1]


def contents(folder: Path) -> tuple[list[Release], list[RoleStatus], bool]:
    """Releases, roles, and whether a change of keys waits for signatures."""
    repository = open_repository(folder)
    return _releases(repository), roles(repository), (folder / "pending" / "root.json").is_file()


def roles(repository: Repository, *, now: datetime | None = None) -> list[RoleStatus]:
    """The roles, from root to timestamp."""
    moment, found = now or today(), []
    for role in ("root", "targets", RELEASES, "snapshot", "timestamp"):
        signed, delegator = repository.meta[role].signed, repository.delegator(role)
        known = delegator.get_delegated_role(role)
        keys = tuple(title(delegator.get_key(key_id)) for key_id in known.keyids)
        left = (signed.expires - moment).days
        found.append(RoleStatus(role, signed.version, signed.expires, left, known.threshold, keys))
    return found


def _releases(repository: Repository) -> list[Release]:
    from edgedx.core.version import version_key

    found = [release_of(target) for target in repository.releases.targets.values()]
    return sorted(found, key=lambda one: (one.facts.name, version_key(one.facts.version), one.facts.profile))


def _names(release: Release) -> tuple[str, str]:
    facts = release.facts
    return f"{facts.name}-{facts.version}", f"{facts.name}-{facts.version}-{facts.profile}"


def _check_ring(ring: int) -> None:
    if not 0 <= ring <= 100:
        raise UsageError(f"ring {ring}", next_step="percent of the devices: 1, 10, 100, or 0 to withdraw it")
