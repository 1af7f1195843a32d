"""Make a repository: its keys, its first root, and nothing in it yet."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tuf.api.metadata import DelegatedRole, Delegations, Metadata, Root, Snapshot, Targets, Timestamp

from edgedx.core.bundle.signing import PublicKey, new_key, read_public
from edgedx.core.errors import AlreadyExists, UsageError
from edgedx.core.files import storage_error
from edgedx.device.fleet.terms import METADATA, PATHS, RELEASES, TARGETS

from .keys import Keyring, Load, load_signing_key, tuf_key
from .repository import Repository

OFFLINE, ONLINE = "offline", "online"


@dataclass(frozen=True)
class Created:
    """A new repository: its first root, which devices pin, and where its keys are, by role."""

    root: Path
    keys: dict[str, list[Path]]
    threshold: int


def create(
    folder: Path,
    keys: Path,
    *,
    root_keys: int = 3,
    threshold: int = 2,
    password: str | None = None,
    load: Load = load_signing_key,
    now: datetime | None = None,
) -> Created:
    """Make keys that are not there, and an empty repository signed by them.

    Parameters
    ----------
    keys : Path
        Gets ``offline/`` (root-1 ..., targets: a safe), ``release/`` (whoever publishes) and ``online/`` (snapshot,
        timestamp: the machine that refreshes).
    root_keys, threshold : int
        How many root keys there are, and how many of them must agree to a change of keys.
    password : str, optional
        Encrypts offline and release keys that are made; those online have none, as nobody is there to type it.

    Raises
    ------
    UsageError
        A threshold that cannot be met, or the keys would lie in what is published.
    AlreadyExists
        There is a repository already.
    """
    if not 1 <= threshold <= root_keys <= 20:
        raise UsageError(
            f"--threshold {threshold} of --root-keys {root_keys}", next_step="e.g. --root-keys 3 --threshold 2"
        )
    if keys.absolute().is_relative_to(folder.absolute()):
        raise UsageError(f"the keys would be published with {folder}", next_step="put them elsewhere: --keys FOLDER")
    if (folder / METADATA).exists():
        raise AlreadyExists(f"{folder} is a repository already", next_step="choose another folder")
    names = {
        Root.type: [f"{OFFLINE}/root-{number}" for number in range(1, root_keys + 1)],
        Targets.type: [f"{OFFLINE}/targets"],
        RELEASES: ["release/release"],
        Snapshot.type: [f"{ONLINE}/snapshot"],
        Timestamp.type: [f"{ONLINE}/timestamp"],
    }
    paths = {role: [keys / f"{name}.pub" for name in given] for role, given in names.items()}
    for path in (path for given in paths.values() for path in given):
        if not path.is_file():
            new_key(path.stem, path.parent, None if path.parent.name == ONLINE else password)
    public = {role: [read_public(path) for path in given] for role, given in paths.items()}
    _build(folder, public, threshold).save(Keyring([keys / OFFLINE, keys / "release", keys / ONLINE], load), now=now)
    try:
        (folder / TARGETS / "bundles").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise storage_error(folder, error) from error
    return Created(folder / METADATA / "1.root.json", paths, threshold)


def _build(folder: Path, keys: dict[str, list[PublicKey]], threshold: int) -> Repository:
    root = Root(consistent_snapshot=True)
    for role in (Root.type, Targets.type, Snapshot.type, Timestamp.type):
        for key in keys[role]:
            root.add_key(tuf_key(key), role)
    root.roles[Root.type].threshold = threshold
    releasing = [tuf_key(key) for key in keys[RELEASES]]
    role = DelegatedRole(RELEASES, [key.keyid for key in releasing], 1, terminating=True, paths=[PATHS])
    targets = Targets(delegations=Delegations({key.keyid: key for key in releasing}, {RELEASES: role}))
    signed = {
        Root.type: root,
        Targets.type: targets,
        RELEASES: Targets(),
        Snapshot.type: Snapshot(),
        Timestamp.type: Timestamp(),
    }
    repository = Repository(folder, {name: Metadata(one) for name, one in signed.items()})
    repository.dirty = set(signed)
    return repository
