"""The output folder, and that it is still the one that was begun: its disk may be taken away, at a start or at work.

::

    OUT/.edgedx-out      the mark: a number drawn when OUT was begun
    INBOX/.edgedx-outs   mount points of the disks that results of this inbox went to, by output folder

A folder below a mount point on which nothing is mounted looks like a new one. Results there would fill the wrong disk,
and every file would be read again.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from pathlib import Path

from edgedx.core.errors import InputOutputError, StorageError
from edgedx.core.files import read_json, storage_error, sync_folder, write_json
from edgedx.device.machine.mounts import missing_mount

MARK, RECORD = ".edgedx-out", ".edgedx-outs"


class OutGone(StorageError):
    """The output folder is not there, or another one is in its place."""

    def __init__(self, out: Path) -> None:
        super().__init__(
            f"the output folder {out} is gone, or another one is in its place",
            next_step="put its disk back, or mount it: the scanner goes on by itself; nothing is lost",
        )


def mark_of(out: Path) -> str | None:
    """The mark of an output folder; None where there is none, or it cannot be read."""
    try:
        return str(json.loads((out / MARK).read_bytes())["mark"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def begin_out(inbox: Path, out: Path) -> str:
    """Make an output folder, or find it again; returns its mark.

    Raises
    ------
    StorageError
        It cannot be made or written; or its disk is not mounted, by fstab(5) or by what an earlier scanner noted in
        the inbox.
    """
    mark = mark_of(out)
    if mark is not None:
        _note(inbox, out)
        return mark
    point, why = missing_mount(out), "by /etc/fstab"
    if point is None:
        before = _record(inbox).get(os.path.abspath(out))
        point, why = (Path(before), f"as {inbox / RECORD} says") if before else (None, "")
    if point is not None and not os.path.ismount(point):
        raise StorageError(
            f"nothing is mounted on {point}, where {out} belongs {why}",
            next_step=f"mount it; or, where results are to go elsewhere now, remove {inbox / RECORD}",
        )
    mark = secrets.token_hex(16)
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / MARK, {"schema_version": 1, "mark": mark, "about": "edgedx scan writes to this folder"})
        sync_folder(out)
    except OSError as error:
        raise storage_error(out, error) from error
    _note(inbox, out)
    return mark


def is_there(out: Path, mark: str) -> bool:
    """Whether `out` is the folder that bears the mark."""
    return mark_of(out) == mark


def identity(out: Path) -> tuple[int, int] | None:
    """File system and inode; another one where the disk was mounted anew."""
    try:
        facts = out.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _record(inbox: Path) -> dict[str, str]:
    try:
        outs = read_json(inbox / RECORD)["outs"]
        return {str(path): str(point) for path, point in outs.items()}
    except (InputOutputError, KeyError, TypeError, AttributeError):
        return {}


def _note(inbox: Path, out: Path) -> None:
    """Note in the inbox on which disk results are, where it is another than the inbox's and not the system's.

    An inbox that is read-only has no note.
    """
    path, point = os.path.abspath(out), _mount_point(out)
    if point == _mount_point(inbox):
        return
    outs = _record(inbox)
    with contextlib.suppress(OSError, InputOutputError):
        if point != Path("/") and outs.get(path) != str(point):
            write_json(inbox / RECORD, {"schema_version": 1, "outs": {**outs, path: str(point)}})


def _mount_point(path: Path) -> Path:
    point = Path(os.path.abspath(path))
    while not os.path.ismount(point):
        point = point.parent
    return point
