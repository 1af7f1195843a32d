"""The scanner's source: a folder that others write to, looked at and never trusted to hold still."""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import storage_error

from .decide import ignored_entry
from .facts import Stat

log = logging.getLogger("edgedx.scan")

LARGEST = 512 << 20
"""Bytes of a file that the decoder reads (`dicom.decoding.refusals.MAX_DECODED_BYTES`); a larger one is told apart by
its size and its ends, and never read through: it may be a sparse one of terabytes."""
_END = 1 << 20  # bytes at either end of such a file
_CHUNK = 1 << 18

_SHARE = 0.003
"""Of a core, spent on looking at all files, and as much on looking at folders."""
_CHEAP = 0.005  # seconds of a look that is not worth saving
_LONGEST = 300.0  # seconds between two looks at every file
_RACY = 3.0
"""Seconds for which a folder that changed is listed again: its time may be too coarse to show the next change."""


@dataclass
class _Folder:
    """A folder as it was listed: its time of modification, when that was seen to change, and its entries."""

    mtime_ns: int
    changed: float
    files: set[str]
    folders: set[str]


class Inbox:
    """A folder with its sub-folders. Names are relative to it, with ``/``, as `os.fsdecode` gives them.

    Attributes
    ----------
    files : dict of str
        Every file that is ours to read, as `refresh` saw it last.
    unlisted : int
        Folders that could not be listed then.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._prefix = os.path.join(self.folder, "")
        self.files: dict[str, Stat] = {}
        self.unlisted = 0
        self._folders: dict[str, _Folder] = {}
        self._next_look = self._next_folders = float("-inf")
        self._again: set[str] = set()
        self._closing = Event()

    def close(self) -> None:
        """End what `hash` is reading."""
        self._closing.set()

    def path(self, name: str) -> Path:
        """Where a listed file is."""
        return self.folder / name

    def look_again(self, name: str) -> None:
        """Have `refresh` look at a file as if it had just come."""
        self.files.pop(name, None)
        self._again.add(name)

    def listing(self) -> dict[str, Stat]:
        """Regular files that are ours to read, each looked at now; what cannot be listed is left out and counted."""
        return {name: facts for prefix in self._walk("", {}, 0.0) for name, facts in prefix.items()}

    def refresh(self, now: float, unsettled: Collection[str] = ()) -> Collection[str]:
        """Bring `files` up to date; returns names that came, went or changed.

        Every file is looked at where that costs next to nothing, and else as often as it costs `_SHARE` of a core, at
        least every five minutes. In between a folder is listed when its time of modification says that it changed,
        and files that are not settled are looked at one by one.

        Parameters
        ----------
        now : float
            Monotonic seconds.
        """
        again, self._again = self._again, set()
        if now >= self._next_look:
            return self._look_at_all(now)
        unsettled = again.union(unsettled)
        if now < self._next_folders:
            return self._look_again(unsettled)
        begun = time.thread_time()
        changed = set(self._look_again(unsettled)) | self._look_at_folders(now)
        self._next_folders = now + _rest(time.thread_time() - begun)
        return changed

    def _look_at_all(self, now: float) -> Collection[str]:
        begun = time.thread_time()
        folders: dict[str, _Folder] = {}
        found = {name: facts for files in self._walk("", folders, now) for name, facts in files.items()}
        changed = [name for name, facts in found.items() if self.files.get(name) != facts]
        changed += [name for name in self.files if name not in found]
        self.files, self._folders = found, folders
        self._next_look = now + min(_LONGEST, _rest(time.thread_time() - begun))
        return changed

    def _look_again(self, names: Collection[str]) -> list[str]:
        changed = []
        for name in names:
            facts = self.stat(name)
            if facts != self.files.get(name):
                changed.append(name)
                if facts is None:
                    self.files.pop(name, None)
                else:
                    self.files[name] = facts
        return changed

    def _look_at_folders(self, now: float) -> set[str]:
        changed: set[str] = set()
        for prefix, folder in list(self._folders.items()):
            if prefix not in self._folders:
                continue  # below one that is gone
            try:
                mtime_ns = os.stat(self.folder / prefix).st_mtime_ns
            except OSError:
                mtime_ns = -1
            if mtime_ns == folder.mtime_ns and now - folder.changed >= _RACY:
                continue
            since = folder.changed if mtime_ns == folder.mtime_ns else now
            changed |= self._list_again(prefix, folder, mtime_ns, since, now)
        return changed

    def _list_again(self, prefix: str, folder: _Folder, mtime_ns: int, since: float, now: float) -> set[str]:
        """One folder whose entries may have changed; files that were there are taken as they are."""
        listed = self._entries(prefix)
        if listed is None:  # gone, or not to be listed now: the next look at all says which
            self._next_look = now
            return set()
        changed, folder.mtime_ns, folder.changed = set(), mtime_ns, since
        files, folders = set(), set()
        for entry in listed:
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.add(entry.name)
                elif entry.is_file(follow_symlinks=False):
                    files.add(entry.name)
                    known = self.files.get(prefix + entry.name)
                    if known is None or known.inode != entry.inode():
                        self.files[prefix + entry.name] = Stat.of(entry.stat(follow_symlinks=False))
                        changed.add(prefix + entry.name)
            except OSError:
                continue  # gone since it was listed
        for name in folder.files - files:
            self.files.pop(prefix + name, None)
            changed.add(prefix + name)
        for name in folders - folder.folders:
            for found in self._walk(f"{prefix}{name}/", self._folders, now):
                self.files |= found
                changed |= found.keys()
        if folder.folders - folders:  # with all that was below
            self._next_look = now
        folder.files, folder.folders = files, folders
        return changed

    def _walk(self, top: str, folders: dict[str, _Folder], now: float) -> Iterator[dict[str, Stat]]:
        """Files of each folder from `top` on, by depth: not by recursion, as folders may be nested a thousand deep."""
        waiting, unlisted = [top], 0
        while waiting:
            prefix = waiting.pop()
            try:
                mtime_ns = os.stat(self.folder / prefix).st_mtime_ns
            except OSError:
                mtime_ns = -1
            listed = self._entries(prefix)
            if listed is None:
                unlisted += 1
                continue
            found: dict[str, Stat] = {}
            below = []
            for entry in listed:
                try:
                    # Links are not followed: they could lead out of the inbox.
                    if entry.is_dir(follow_symlinks=False):
                        below.append(entry.name)
                    elif entry.is_file(follow_symlinks=False):
                        found[prefix + entry.name] = Stat.of(entry.stat(follow_symlinks=False))
                except OSError:
                    continue  # gone since it was listed
            names = {name[len(prefix) :] for name in found}
            folders[prefix] = _Folder(mtime_ns, now, names, set(below))
            waiting += [f"{prefix}{name}/" for name in reversed(below)]
            yield found
        if not top:
            self._count_unlisted(unlisted)

    def _entries(self, prefix: str) -> list[os.DirEntry[str]] | None:
        try:
            with os.scandir(self.folder / prefix) as listing:
                return sorted((one for one in listing if not ignored_entry(one.name)), key=lambda entry: entry.name)
        except OSError:
            return None

    def _count_unlisted(self, count: int) -> None:
        if count != self.unlisted:  # names of folders may be names of patients: only how many
            log.warning("folders of the inbox that cannot be listed: %d", count)
            self.unlisted = count

    def stat(self, name: str) -> Stat | None:
        """The file's facts now, or None where there is no regular file of that name."""
        try:
            now = os.lstat(f"{self._prefix}{name}")
        except (OSError, ValueError):
            return None
        return Stat.of(now) if stat.S_ISREG(now.st_mode) else None

    def hash(self, name: str) -> str:
        """SHA-256 of a file's content; of one larger than `LARGEST`, of its size and its first and last MiB.

        Raises
        ------
        InputOutputError
            It cannot be opened or read, or `close` was called.
        """
        path, digest, buffer = self.path(name), hashlib.sha256(), bytearray(_CHUNK)
        try:
            with path.open("rb", buffering=0) as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > LARGEST:
                    return _hash_of_ends(stream.fileno(), size)
                while count := stream.readinto(buffer):
                    if self._closing.is_set():
                        raise InputOutputError(f"{path}: the scanner ends")
                    digest.update(memoryview(buffer)[:count])
        except OSError as error:
            raise storage_error(path, error) from error
        return digest.hexdigest()


def _hash_of_ends(handle: int, size: int) -> str:
    digest = hashlib.sha256(f"edgedx: larger than {LARGEST} bytes: {size}\n".encode())
    digest.update(os.pread(handle, _END, 0))
    digest.update(os.pread(handle, _END, size - _END))
    return digest.hexdigest()


def _rest(cost: float) -> float:
    return cost / _SHARE if cost > _CHEAP else 0.0


def check_folders(inbox: Path, out: Path) -> None:
    """Refuse folders that would lose or repeat work.

    Raises
    ------
    InputOutputError
        No inbox.
    UsageError
        One folder inside the other, so that outputs would be read as inputs.
    """
    if not inbox.is_dir():
        raise InputOutputError(f"no folder {inbox}", next_step="create it, or mount the share, then start again")
    source, target = inbox.resolve(), out.resolve()
    if source == target or source in target.parents:
        raise UsageError(
            f"--out {out} lies inside the inbox: results would be scanned", next_step="choose a folder outside"
        )
    for written in (target / "results", target / "quarantine"):
        if written == source or written in source.parents:
            raise UsageError(
                f"the inbox {inbox} lies inside {written}, which the scanner writes to", next_step="choose another"
            )
