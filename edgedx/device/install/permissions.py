"""Whose a device's folder is: nobody but its owner may be able to put keys, state or models into it.

What is below the root is never reached through a symbolic link (``current`` is read as text, and names a slot). The
root itself may be one, and may lie anywhere: who can write to the folders above it is not examined.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path

from edgedx.core.errors import GateRefused, InputOutputError
from edgedx.core.files import storage_error

_FLEET = ("fleet", "fleet/metadata", "fleet/metadata/root_history", "fleet/downloads")
_FLEET_FILES = ("fleet/.lock", "fleet/root.json", "fleet/box.json", "fleet/record.json")
_FOLDERS = ("trust", "slots", "slots/a", "slots/b", "engines")
_FILES = (
    ".lock",
    "state.json",
    "operating_point.json",
    "audit.jsonl",
    "slots/a/installed.json",
    "slots/b/installed.json",
)


def check_root(root: Path) -> None:
    """Refuse a root that others than its owner, root and this process' user may have changed.

    Raises
    ------
    GateRefused
        Something in it is a symbolic link, belongs to somebody else, or can be written by everybody or by a group of
        several users. A root that is not there yet is nobody's.
    InputOutputError
        Something in it is of another kind than it should be.
    """
    try:
        top = os.stat(root)
    except FileNotFoundError:
        return
    except OSError as error:
        raise storage_error(root, error) from error
    owners = {0, os.geteuid(), top.st_uid}
    _check(root, top, owners, stat.S_IFDIR)
    for path, kind in _inside(root):
        try:
            _check(path, os.lstat(path), owners, kind)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise storage_error(path, error) from error


def _inside(root: Path) -> Iterator[tuple[Path, int]]:
    yield from ((root / name, stat.S_IFDIR) for name in (*_FOLDERS, *_FLEET))
    yield from ((root / name, stat.S_IFREG) for name in (*_FILES, *_FLEET_FILES))
    trust = root / "trust"
    if not trust.is_symlink() and trust.is_dir():
        try:
            yield from ((trust / name, stat.S_IFREG) for name in sorted(os.listdir(trust)))
        except OSError as error:
            raise storage_error(trust, error) from error


def _check(path: Path, facts: os.stat_result, owners: set[int], kind: int) -> None:
    if stat.S_ISLNK(facts.st_mode):
        raise GateRefused(
            f"{path} is a symbolic link: what it names may be changed by whoever owns that",
            next_step="put the real file or folder there; --root itself may be a link",
        )
    if stat.S_IFMT(facts.st_mode) != kind:
        wanted = "folder" if kind == stat.S_IFDIR else "regular file"
        raise InputOutputError(f"{path} is not a {wanted}", next_step="find out who put it there, then move it away")
    if facts.st_uid not in owners:
        raise GateRefused(
            f"{path} belongs to user {facts.st_uid}, who is neither root nor the owner of the device's folder",
            next_step=f"find out what it holds; if that is as it should be: chown root {path}",
        )
    if facts.st_mode & stat.S_IWOTH or (facts.st_mode & stat.S_IWGRP and not _private_group(facts)):
        who = "everybody" if facts.st_mode & stat.S_IWOTH else f"group {facts.st_gid}"
        raise GateRefused(
            f"{path} can be written by {who}: the keys and models in there may be anybody's",
            next_step=f"chmod go-w {path}; then compare `edgedx keys list --root DIR` with the keys that you pinned",
        )


def _private_group(facts: os.stat_result) -> bool:
    """Whether a group is its owner's alone: root's, or the one of the same name that many systems give each user."""
    if facts.st_gid == 0:
        return True
    try:
        owner, group = pwd.getpwuid(facts.st_uid), grp.getgrgid(facts.st_gid)
    except KeyError:  # a container knows numbers alone
        return facts.st_gid == facts.st_uid
    return owner.pw_gid == facts.st_gid and owner.pw_name == group.gr_name and set(group.gr_mem) <= {owner.pw_name}
