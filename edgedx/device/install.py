"""Put a bundle on a device: verify, stage, prove with golden samples, switch by an atomic symlink."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ..core.bundle import Bundle, open_bundle, open_folder, unpack_to
from ..core.errors import InputOutputError
from ..core.files import storage_error, sync_folder
from .golden import check_golden
from .inbox import lock
from .runner import open_runner


@dataclass(frozen=True)
class Installed:
    """What `install_bundle` did.

    Attributes
    ----------
    current : Path
        Symlink to the active version; what ``edgedx scan --bundle`` takes.
    golden_difference : float
        Greatest difference of logits on the golden samples, here.
    """

    current: Path
    digest: str
    name: str
    variant: str
    golden_difference: float


def install_bundle(path: Path, root: Path, *, variant: str | None = None) -> Installed:
    """Install a bundle below `root`; whatever fails, the version that was active stays active.

    Parameters
    ----------
    variant : str, optional
        The model that will serve here, and so the one that is proven; the bundle's default unless given.

    Raises
    ------
    BundleError, GateRefused, ProviderMissing, StorageError
        See `open_bundle`, `check_golden`, `open_runner`.
    """
    bundle = open_bundle(path)
    versions = root / "versions"
    target = versions / bundle.digest[:16]
    with lock(root):
        try:
            versions.mkdir(parents=True, exist_ok=True)
            sync_folder(root)
            for left in versions.glob(".staging-*"):  # by an install that was killed
                shutil.rmtree(left)
            if _is_whole(target, bundle.digest):
                difference = _prove(open_folder(target), variant)
            else:
                difference = _stage(bundle, target, variant)
            current = root / "current"
            active = os.readlink(current) if current.is_symlink() else None
            if active is not None and active != f"versions/{target.name}":
                _link(root / "previous", active)
            _link(current, f"versions/{target.name}")
        except OSError as error:
            raise storage_error(root, error) from error
    name = variant or bundle.manifest.default_variant
    return Installed(current, bundle.digest, f"{bundle.manifest.name} {bundle.manifest.version}", name, difference)


def _is_whole(folder: Path, digest: str) -> bool:
    """Whether an earlier install of the same bundle is there, unchanged on disk."""
    try:
        return open_folder(folder).digest == digest
    except InputOutputError:
        return False


def _stage(bundle: Bundle, target: Path, variant: str | None) -> float:
    """Write beside `target`, prove what was written, and only then give it its name."""
    staging = Path(tempfile.mkdtemp(prefix=".staging-", dir=target.parent))
    try:
        os.chmod(staging, 0o755)
        unpack_to(bundle, staging)
        for folder in (staging, *(path for path in staging.rglob("*") if path.is_dir())):
            sync_folder(folder)
        difference = _prove(open_folder(staging), variant)
        if target.exists():  # damaged since it was installed, or it would not be written again
            os.replace(target, staging.with_name(staging.name + "-damaged"))
        os.replace(staging, target)
        sync_folder(target.parent)
    finally:
        for left in target.parent.glob(staging.name + "*"):
            shutil.rmtree(left, ignore_errors=True)
    return difference


def _prove(bundle: Bundle, variant: str | None) -> float:
    with open_runner(bundle, variant=variant) as runner:
        return check_golden(bundle, runner, variant)


def _link(link: Path, target: str) -> None:
    temporary = link.with_name(f".{link.name}.new")
    temporary.unlink(missing_ok=True)
    temporary.symlink_to(target)
    os.replace(temporary, link)
    sync_folder(link.parent)


def open_any(path: Path) -> Bundle:
    """Open a ``.edgedx`` file, or an installed version such as ``ROOT/current``.

    Raises
    ------
    InputOutputError
        Neither.
    """
    if path.is_dir():
        if (path / "current").is_symlink():
            return open_folder((path / "current").resolve())
        return open_folder(path.resolve())
    if not path.exists():
        raise InputOutputError(f"no bundle at {path}", next_step="make one with `edgedx deploy`, then `edgedx install`")
    return open_bundle(path)
