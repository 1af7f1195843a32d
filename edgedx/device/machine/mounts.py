"""Which file system a path is on, and which ones should be there and are not."""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path

MOUNTS, FSTAB = Path("/proc/self/mountinfo"), Path("/etc/fstab")
_REMOTE = frozenset(
    ("nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "9p", "virtiofs", "vboxsf", "prl_fs", "ceph", "glusterfs", "afs")
    + ("lustre", "gpfs", "beegfs", "ocfs2", "gfs2", "davfs", "sshfs")
)


def is_remote(device: int) -> bool:
    """Whether other machines may write to the file system with this `st_dev`, unseen by this machine's kernel.

    What is not known counts as remote.
    """
    kind = _kind_of(os.major(device), os.minor(device))
    return kind is None or kind in _REMOTE or kind.startswith("fuse")


@lru_cache(maxsize=256)
def _kind_of(major: int, minor: int) -> str | None:
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    for line in lines:  # proc_pid_mountinfo(5): ID, parent, major:minor, root, mount point ... - type source options
        fields, _, rest = line.partition(" - ")
        if fields.split(" ")[2:3] == [f"{major}:{minor}"]:
            return rest.split(" ")[0]
    return None


def missing_mount(path: Path) -> Path | None:
    """The mount point of fstab(5) that `path` lies at or below, where nothing is mounted on it now."""
    try:
        lines = FSTAB.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    whole = Path(os.path.abspath(path))
    points = [Path(_unescaped(words[1])) for line in lines if (words := line.split()) and _is_mount(words)]
    above = [point for point in points if point == whole or point in whole.parents]
    return next((point for point in sorted(above, reverse=True) if not os.path.ismount(point)), None)


def _is_mount(words: list[str]) -> bool:
    return len(words) >= 3 and not words[0].startswith("#") and words[1].startswith("/") and words[1] != "/"


def _unescaped(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
