"""Which releases a repository offers this device: python-tuf's client does the verifying, from the pinned root on."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuf.api import exceptions
from tuf.api.metadata import Metadata, Root, Targets, Timestamp
from tuf.ngclient import Updater, UpdaterConfig

from edgedx.core.errors import GateRefused
from edgedx.core.files import storage_error, sync_folder
from edgedx.device.install.permissions import check_root

from .fetch import MetadataFetcher, Sleep
from .places import metadata_folder, read_pinned_root
from .refusals import refusal
from .source import Source
from .terms import METADATA, RELEASES, Release, release_of

_NOWHERE = "bundles/none.edgedx"
"""A path that no release has: asking for it makes the client load and verify all that could name it."""


@dataclass(frozen=True)
class Offer:
    """A repository as it was verified now.

    Attributes
    ----------
    releases : tuple of Release
    expires : str
        Until when the repository counts as fresh, ISO 8601 UTC.
    """

    releases: tuple[Release, ...]
    root_version: int
    timestamp_version: int
    expires: str


def look(root: Path, source: Source, *, sleep: Sleep = time.sleep) -> Offer:
    """Verify the repository's metadata, newer than what was seen before, and read what it offers.

    Raises
    ------
    GateRefused
        No root is pinned; or stale, older than seen, not signed as it must be, mixed up.
    InputOutputError
        The line or the stick failed, or what came is no metadata.
    """
    check_root(root)
    bootstrap, folder = read_pinned_root(root), metadata_folder(root)
    fetcher = MetadataFetcher(source, sleep)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        known = _known(folder, bootstrap)
        updater = Updater(
            str(folder), METADATA, fetcher=fetcher, config=UpdaterConfig(max_root_rotations=256), bootstrap=bootstrap
        )
        updater.refresh()
        updater.get_targetinfo(_NOWHERE)
        paths = Metadata[Targets].from_file(str(folder / f"{RELEASES}.json")).signed.targets
        # The file names them; what is believed of each comes from what the client has verified.
        found = [target for path in sorted(paths) if (target := updater.get_targetinfo(path)) is not None]
    except (exceptions.RepositoryError, exceptions.DownloadError) as error:
        raise refusal(error, source, fetcher.last, _known(folder, bootstrap) or known) from error
    except ValueError as error:
        raise GateRefused(
            f"{source.where} does not hold together: {error}", next_step="copy all of it again; see docs/fleet.md"
        ) from error
    except OSError as error:
        raise storage_error(folder, error) from error
    finally:
        _sync(folder)
    timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json")).signed
    now = _known(folder, bootstrap)
    return Offer(
        tuple(release_of(target) for target in found),
        int(now["root"]),
        timestamp.version,
        f"{timestamp.expires:%Y-%m-%dT%H:%M:%SZ}",
    )


def newest(releases: Sequence[Release]) -> Release:
    """Of releases of one name, the highest version; of several of that, the first by path."""
    from edgedx.core.version import version_key

    best = max(version_key(one.facts.version) for one in releases)
    return min((one for one in releases if version_key(one.facts.version) == best), key=lambda one: one.path)


def _known(folder: Path, bootstrap: bytes) -> dict[str, Any]:
    """Versions that were verified before, for messages."""
    found: dict[str, Any] = {}
    try:
        found["root"] = Metadata[Root].from_bytes(bootstrap).signed.version
        found["root"] = Metadata[Root].from_file(str(folder / "root.json")).signed.version
        found["timestamp"] = Metadata[Timestamp].from_file(str(folder / "timestamp.json")).signed.version
    except Exception:  # missing or damaged: the client begins anew
        pass
    return found


def _sync(folder: Path) -> None:
    """python-tuf renames without a sync: after a power cut a file might be empty, and what was seen forgotten."""
    try:
        for path in (*folder.glob("*.json"), *folder.glob("root_history/*.json")):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.fsync(handle)
            finally:
                os.close(handle)
        for one in (folder / "root_history", folder):
            if one.is_dir():
                sync_folder(one)
    except OSError as error:
        raise storage_error(folder, error) from error
