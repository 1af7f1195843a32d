"""What a repository for a fleet and its devices must call alike: roles, paths, rings, facts about a release.

The repository is one of The Update Framework (TUF, https://theupdateframework.github.io/specification/latest/), so any
TUF client can read it. Ours are only the name of the delegated role, the paths, and the custom part of a target.
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from edgedx.core.errors import DependencyMissing, GateRefused
from edgedx.core.strict import Strict
from edgedx.core.version import VERSION_PATTERN

if TYPE_CHECKING:
    from tuf.api.metadata import TargetFile

RELEASES = "releases"
"""The delegated role: whoever holds its key may publish bundles, and nothing else."""
METADATA, TARGETS = "metadata", "targets"
"""Folders of a repository."""
PATHS = "bundles/*"
"""What the delegated role may sign."""
RINGS = (1, 10, 100)
"""Percent of the devices that are offered a release, one after the other."""
CUSTOM = "edgedx"
BOX_NAME = r"^[a-z0-9][a-z0-9.-]{0,39}$"
_PATH = re.compile(r"bundles/[a-z0-9][a-z0-9.-]{0,199}\.edgedx")


class Facts(Strict):
    """The custom part of a target: what a device must know of a bundle before it fetches it."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,79}$")
    version: str = Field(pattern=VERSION_PATTERN)
    profile: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$", description="Device profile it was made for.")
    digest: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the manifest: the identity of the bundle.")
    ring: int = Field(ge=0, le=100, description="Percent of the devices that may take it; 0: withdrawn.")


class Release(Strict):
    """A bundle as the metadata describe it."""

    path: str
    length: int = Field(gt=0, description="Bytes.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    facts: Facts

    @property
    def title(self) -> str:
        """Name, version and profile, for people."""
        return f"{self.facts.name} {self.facts.version} for {self.facts.profile}"

    @property
    def address(self) -> str:
        """Where its file lies in the repository: named by content, so that it can never change there."""
        folder, _, name = self.path.rpartition("/")
        return f"{TARGETS}/{folder}/{self.sha256}.{name}"


def release_of(target: TargetFile) -> Release:
    """Read a target strictly.

    Raises
    ------
    GateRefused
        It is none of ours: another path, another hash, facts missing.
    """
    custom: Any = target.custom or {}
    try:
        if _PATH.fullmatch(target.path) is None or set(target.hashes) != {"sha256"}:
            raise ValueError
        facts = Facts.model_validate(custom.get(CUSTOM))
        return Release(path=target.path, length=target.length, sha256=target.hashes["sha256"], facts=facts)
    except (ValueError, ValidationError, AttributeError) as error:
        raise GateRefused(
            f"the repository offers {target.path!r}, which is no bundle that `edgedx fleet publish` has put there",
            next_step="look at it with `edgedx fleet list REPO`; was it published by another program?",
        ) from error


def place_in_rings(box: str) -> float:
    """Where a device stands among all, in percent from 0 up to 100: it takes what is published to more than that.

    It depends on its name alone: the same devices are always the first, and their clinics can know.

    Examples
    --------
    >>> place_in_rings("clinic-017") == place_in_rings("clinic-017")
    True
    """
    digest = hashlib.sha256(b"edgedx ring\n" + box.encode()).digest()
    return 100 * int.from_bytes(digest[:8], "big") / 2**64


def require_tuf() -> None:
    """Say what to install where python-tuf is not.

    Raises
    ------
    DependencyMissing
    """
    try:
        import tuf.ngclient  # noqa: F401
    except ImportError as error:
        raise DependencyMissing(
            "updates from a repository need python-tuf, which is not installed", next_step='pip install "edgedx[fleet]"'
        ) from error
