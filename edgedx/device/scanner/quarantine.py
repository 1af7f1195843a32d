"""Files that could not be read: moved out of the inbox with their reason, and back where their bytes change after all.

::

    OUT/quarantine/KEY-NAME              the file
    OUT/quarantine/KEY-NAME.reason.json  its result, which says why

A rename where inbox and OUT are one file system. Where they are not (under the unit's bind mounts they never are), the
file is copied, synced and then removed; a large copy is made beside the work loop. What has no room on the disk of OUT,
or somebody has open for writing, is left in the inbox with its final status, and moved when that has passed.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Literal

from edgedx.core.errors import InputOutputError
from edgedx.core.files import atomic_write, read_json, safe_name, sha256_file, storage_error, sync_folder, write_text
from edgedx.device.machine.writers import has_writer

from .facts import Stat
from .inbox import Inbox
from .journal import Journal
from .rebuild import REASON

log = logging.getLogger("edgedx.scan")

COPY_AT_ONCE = 32 << 20
"""Bytes of a file that the work loop copies itself."""
LOOK_SECONDS = 10.0
_SHARE = 0.002  # of a core, spent on looking at what lies in quarantine
_PREFIXES = re.compile(r"([0-9a-f]{12}-)+")  # a second return does not lengthen the name

Outcome = Literal["moved", "copied", "left"]
"""Gone from the inbox; copied, while the inbox cannot be written; still there alone."""


class Quarantine:
    """The folder of one output folder.

    Parameters
    ----------
    floor : int
        Bytes that a copy leaves free.
    """

    def __init__(self, out: Path, floor: int) -> None:
        self.folder, self._results, self._floor = out / "quarantine", out / "results", floor
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            for left in self.folder.glob(".*.tmp"):  # by a process that was killed while writing
                left.unlink()
        except OSError as error:
            raise storage_error(self.folder, error) from error

    def put(self, source: Path, key: str, reason: str, *, largest_copy: int | None = None) -> Outcome:
        """Move a file out of the inbox and put its result beside it; bytes are never lost.

        Parameters
        ----------
        reason : str
            JSON of its result.
        largest_copy : int, optional
            Bytes of a larger file are not copied, where a rename does not do.

        Raises
        ------
        StorageError, InputOutputError
            OUT cannot be written. What is wrong with one file, or too little room for it, is none of these.
        """
        target = self.folder / f"{key[:12]}-{safe_name(source.name)}"
        mark = target.with_name(target.name + REASON)
        if has_writer(source):  # who writes on would write into quarantine, or into a file that has no name any more
            return "left"
        write_text(mark, reason)
        try:
            outcome = self._move(source, target, largest_copy)
        except (OSError, InputOutputError) as error:
            log.warning("key=%s cannot be moved into quarantine: %s", key[:12], type(error.__cause__ or error).__name__)
            outcome = "left"
        try:
            if outcome == "left":
                mark.unlink(missing_ok=True)
            sync_folder(self.folder)
        except OSError as error:
            raise storage_error(target, error) from error
        return outcome

    def _move(self, source: Path, target: Path, largest_copy: int | None) -> Outcome:
        try:
            os.replace(source, target)
        except FileNotFoundError:
            return "moved"  # somebody took it
        except OSError:  # another file system, or one that is read-only
            return self._copy(source, target, largest_copy)
        sync_folder(source.parent)
        return "moved"

    def _copy(self, source: Path, target: Path, largest: int | None) -> Outcome:
        """Copy durably first, then remove."""
        before = source.lstat()
        if not stat.S_ISREG(before.st_mode) or (largest is not None and before.st_size > largest):
            return "left"
        if before.st_size + self._floor > shutil.disk_usage(self.folder).free:
            return "left"
        with source.open("rb") as stream, atomic_write(target) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
            # So that who looks at its age sees that nobody has written to it since its reason was.
            copy.flush()
            os.utime(copy.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
        if Stat.of(source.lstat()) != Stat.of(before):  # written to meanwhile: the inbox has the file that counts
            target.unlink()
            return "left"
        try:
            source.unlink()
        except OSError:
            return "copied"
        sync_folder(source.parent)
        return "moved"

    def explain(self, key: str, reason: str) -> None:
        """Put the reason beside what was quarantined under a key, in case a crash came in between."""
        for target in self.folder.glob(f"{key[:12]}-*"):
            if not target.name.endswith(REASON):
                write_text(target.with_name(target.name + REASON), reason)

    def suspects(self) -> dict[Path, Stat]:
        """Files that were written to after their reason was: by somebody who had them open when they were moved."""
        found: dict[Path, Stat] = {}
        try:
            with os.scandir(self.folder) as listing:
                entries = {entry.name: entry for entry in listing}
            for name, entry in entries.items():
                reason = entries.get(name + REASON)
                if reason is None or name.startswith(".") or not entry.is_file(follow_symlinks=False):
                    continue
                facts = Stat.of(entry.stat(follow_symlinks=False))
                if facts.mtime_ns > reason.stat(follow_symlinks=False).st_mtime_ns:
                    found[Path(entry.path)] = facts
        except OSError:  # gone since it was listed: the next look sees the rest
            pass
        return found


def differs(path: Path) -> bool:
    """Whether a file in quarantine has another content than the one that could not be read."""
    try:
        source = read_json(path.with_name(path.name + REASON))["source"]
        return bool(path.stat().st_size != source["bytes"] or sha256_file(path) != source["sha256"])
    except (InputOutputError, OSError, KeyError, TypeError):
        return False


def name_in_inbox(path: Path) -> str:
    """Where a file of the quarantine was, relative to the inbox; empty where its reason does not say."""
    try:
        return str(read_json(path.with_name(path.name + REASON))["source"]["name"])
    except (InputOutputError, KeyError, TypeError):
        return ""


def bring_back(path: Path, inbox: Path, name: str = "") -> Path | None:
    """Move a file back into the inbox, to the folder it came from where that is still there.

    It gets a name that begins with its key, so nobody else's file can be in the way; a kill leaves it on one side, or,
    where the inbox is another file system, on both, and the next time ends that.

    Parameters
    ----------
    name : str
        Where it was, relative to the inbox.

    Returns
    -------
    Path or None
        Where it is now; None where it was not there to be moved.

    Raises
    ------
    InputOutputError, StorageError
        It is where it was.
    """
    key = path.name[:12]
    target = _folder_of(name, inbox) / f"{key}-{_PREFIXES.sub('', path.name, count=1) or 'unnamed'}"
    try:
        return target if _move_back(path, target) else None
    except OSError as error:
        raise storage_error(target, error) from error


def _move_back(source: Path, target: Path) -> bool:
    """Returns whether it was there to be moved."""
    # The reason first: one without its file would speak of a file that was read by then.
    source.with_name(source.name + REASON).unlink(missing_ok=True)
    try:
        os.replace(source, target)
    except FileNotFoundError:
        return False
    except OSError:  # another file system
        for left in target.parent.glob(f".{target.name[:80]}.*.tmp"):  # by a kill
            left.unlink()
        with source.open("rb") as stream, atomic_write(target) as copy:
            shutil.copyfileobj(stream, copy, 1 << 20)
        os.unlink(source)
    sync_folder(target.parent)
    sync_folder(source.parent)
    return True


def _folder_of(name: str, inbox: Path) -> Path:
    """The folder of a name where that is a folder of the inbox, and no link leads out; else the inbox itself."""
    folder = inbox / PurePosixPath(name).parent
    try:
        within = inbox.resolve() / PurePosixPath(name).parent
        return folder if folder.is_dir() and folder.resolve() == within else inbox
    except (OSError, ValueError):
        return inbox


class QuarantineCare:
    """Looks after the quarantine beside the work loop: moves what was left, and brings back what changed.

    Parameters
    ----------
    settle : float
        Seconds that a file must stay unchanged.
    """

    def __init__(
        self,
        quarantine: Quarantine,
        source: Inbox,
        journal: Journal,
        reason_of: Callable[[str], str],
        moved: Callable[[list[str]], None],
        settle: float,
    ) -> None:
        self._quarantine, self._source, self._journal = quarantine, source, journal
        self._reason_of, self._moved, self._settle = reason_of, moved, settle
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="quarantine")
        self._next = self._next_suspects = float("-inf")
        self._moving: tuple[str, Future[Outcome]] | None = None
        self._returning: tuple[Path, Stat, Future[bool]] | None = None
        self._seen: dict[Path, tuple[Stat, float]] = {}
        self._same: dict[Path, Stat] = {}
        self._tried: dict[str, float] = {}
        self.left = 0
        """Files of the inbox that could not be read and not be moved either."""

    def look(self, now: float) -> None:
        """Do what is due; costs next to nothing where nothing is.

        Raises
        ------
        StorageError
            The ledger or OUT cannot be read or written.
        """
        self._finish_moving()
        self._finish_returning()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        self._begin_moving(now)
        if now >= self._next_suspects:
            begun = time.thread_time()
            self._begin_returning(now)
            self._next_suspects = now + (time.thread_time() - begun) / _SHARE

    def close(self) -> None:
        """Wait for the file at hand."""
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _begin_moving(self, now: float) -> None:
        there = []
        for name, key, sha256 in self._journal.left_in_inbox():
            facts = self._source.stat(name)
            if facts is not None and self._journal.recall(name, facts) == sha256:
                there.append((name, key))
        self.left = len(there)
        self._tried = {name: when for name, when in self._tried.items() if any(name == one for one, _ in there)}
        due = [(name, key) for name, key in there if now >= self._tried.get(name, now)]
        if self._moving is None and due:
            name, key = min(due, key=lambda one: self._tried.get(one[0], 0.0))
            self._tried[name] = now + 6 * LOOK_SECONDS
            try:
                reason = self._reason_of(key)
            except OSError:
                return
            self._moving = name, self._threads.submit(self._quarantine.put, self._source.path(name), key, reason)

    def _finish_moving(self) -> None:
        if self._moving is None or not self._moving[1].done():
            return
        (name, outcome), self._moving = self._moving, None
        if outcome.exception() is None and outcome.result() == "moved":
            self._journal.finish([], gone=[name])
            self._moved([name])
            self.left = max(0, self.left - 1)
            self._next = float("-inf")  # the next one at once

    def _begin_returning(self, now: float) -> None:
        suspects = {path: facts for path, facts in self._quarantine.suspects().items() if self._same.get(path) != facts}
        self._same = {path: facts for path, facts in self._same.items() if path.exists()}
        self._seen = {
            path: self._seen[path] if path in self._seen and self._seen[path][0] == facts else (facts, now)
            for path, facts in suspects.items()
        }
        for path, (facts, since) in self._seen.items():
            if self._returning is None and now - since >= max(self._settle, LOOK_SECONDS) and not has_writer(path):
                self._returning = path, facts, self._threads.submit(differs, path)

    def _finish_returning(self) -> None:
        if self._returning is None or not self._returning[2].done():
            return
        (path, facts, outcome), self._returning = self._returning, None
        if outcome.exception() is not None:
            return
        if not outcome.result():
            self._same[path] = facts  # touched, and no other content
            return
        try:
            bring_back(path, self._source.folder, name_in_inbox(path))
            log.warning("a file in quarantine was written to: it is read again")
        except InputOutputError as error:
            log.warning("a file in quarantine was written to and cannot be moved back: %s", type(error).__name__)
