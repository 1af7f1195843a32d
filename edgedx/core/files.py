"""Durable files: written whole or not at all, named by content, never by a stranger."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from .errors import AlreadyExists, FileGone, InputOutputError, StorageError, UsageError

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
_GONE = {errno.EIO, errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.ENOMEDIUM}


def storage_error(path: Path, error: OSError) -> InputOutputError:
    """Translate an `OSError` on `path` into our tree, with the next step."""
    if error.errno in _FULL:
        return StorageError(
            f"no space left while writing {path}", next_step=f"free space on the disk of {path.parent}, then repeat"
        )
    if error.errno in _REFUSED:
        return StorageError(f"cannot write {path}: {error.strerror}", next_step="check the owner and the mount options")
    if error.errno == errno.ENOENT:
        return FileGone(path)
    if error.errno in _GONE:
        return InputOutputError(
            f"{path}: {error.strerror}", next_step="is its disk, stick or share still there? Put it back, then repeat"
        )
    return InputOutputError(f"{path}: {error.strerror or error}", next_step="look at what is there")


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive power loss (fsync of the directory)."""
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def atomic_write(
    path: Path | str, mode: str = "wb", *, sync_parent: bool = True, make_parent: bool = True, **kwargs: Any
) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on a clean exit it replaces `path` durably.

    The order is write, fsync(file), rename, fsync(folder): after power loss `path` holds the old
    or the new content in full. On an exception nothing is left behind.

    Parameters
    ----------
    sync_parent : bool
        False leaves the last step to the caller: without it the old content may come back.
    make_parent : bool
        False where a folder that is gone must not be made anew: its disk may have been taken away.

    Raises
    ------
    StorageError
        Disk full, read-only or not permitted.
    """
    path = Path(path)
    temporary = ""
    try:
        if make_parent:
            path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:80]}.", suffix=".tmp")
        with os.fdopen(handle, mode, **kwargs) as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp gives 0600; results are read by other users
        os.replace(temporary, path)
        temporary = ""
        if sync_parent:
            sync_folder(path.parent)
    except OSError as error:
        raise storage_error(path, error) from error
    finally:
        if temporary:
            Path(temporary).unlink(missing_ok=True)


def _umask() -> int:
    try:  # asking by setting it would open a moment in which other threads make files for everybody
        with open("/proc/self/status", encoding="ascii", errors="replace") as stream:
            return next(int(line.split()[1], 8) for line in stream if line.startswith("Umask:"))
    except (OSError, StopIteration, ValueError):
        current = os.umask(0)
        os.umask(current)
        return current


@contextmanager
def private_files(mask: int = 0o027) -> Iterator[None]:
    """Make files of this process, and of those that it starts, unreadable for others than owner and group.

    Parameters
    ----------
    mask : int
        Bits that no new file or folder has, beside those that the environment took away already.
    """
    before = os.umask(mask)
    os.umask(before | mask)
    try:
        yield
    finally:
        os.umask(before)


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write `data` to `path` durably (see `atomic_write`)."""
    with atomic_write(path) as stream:
        stream.write(data)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 `text` to `path` durably."""
    write_bytes(path, text.encode())


def write_together(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write several files of one folder, which must be there, durably, with one sync of the folder for all of them.

    All are on their way to the disk before the first one is waited for. Each is synced before it gets its name.

    Raises
    ------
    StorageError
        See `atomic_write`.
    """
    path, begun = folder, dict[Path, tuple[str, int]]()
    try:
        try:
            for name, data in contents.items():
                path = folder / name
                temporary = f"{folder}/.{name[:80]}.{secrets.token_hex(4)}.tmp"
                handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
                begun[path] = temporary, handle
                _write_whole(handle, data)
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)  # Linux begins to write it, and does not wait
            while begun:
                path, (temporary, handle) = next(iter(begun.items()))
                os.fsync(handle)
                os.replace(temporary, path)
                os.close(begun.pop(path)[1])
        finally:
            for temporary, handle in begun.values():
                os.close(handle)
                os.unlink(temporary)
        sync_folder(folder)
    except OSError as error:
        raise storage_error(path, error) from error


def _write_whole(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read, durably; one that is there is never replaced."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise AlreadyExists(f"{path} is there, and is not overwritten", next_step="choose another name") from error
    except OSError as error:
        raise storage_error(path, error) from error
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        sync_folder(path.parent)
    except OSError as error:
        path.unlink(missing_ok=True)  # half a key is none
        raise storage_error(path, error) from error


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as indented JSON to `path` durably. NaN is refused: it is not JSON."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputOutputError
        Missing or not JSON; names the file and the line.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise storage_error(Path(path), error) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputOutputError(f"{path} is not JSON: {error}") from error


def read_regular(
    path: Path, limit: int, *, follow: bool = True, error: type[InputOutputError] = InputOutputError
) -> bytes:
    """Content of a regular file of at most `limit` bytes; a FIFO or a device is never waited for.

    Parameters
    ----------
    follow : bool
        Whether `path` may be a symbolic link.
    error : type
        What is raised for a file that is not regular, too large, or changes while it is read.

    Raises
    ------
    InputOutputError, StorageError
        Missing or not readable.
    """
    link = f"{path} is a symbolic link, and is not followed"
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW))
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(handle)
            if not stat.S_ISREG(status.st_mode):
                raise error(f"{path} is not a regular file", next_step="name a file")
            if status.st_size > limit:
                raise error(f"{path} is larger than {_size(limit)}", next_step="is it the right file?")
            data = stream.read(status.st_size + 1)
    except IsADirectoryError as failed:
        raise error(f"{path} is not a regular file", next_step="name a file, not a folder") from failed
    except OSError as failed:
        if failed.errno == errno.ELOOP and not follow:
            raise error(link, next_step="put the file itself there") from failed
        raise storage_error(path, failed) from failed
    if len(data) != status.st_size:
        raise error(
            f"{path} changed while it was read: {len(data)} bytes instead of {status.st_size}",
            next_step="wait until it is copied whole, or put its stick back, then repeat",
        )
    return data


def _size(count: int) -> str:
    return f"{count >> 20} MiB" if count >= 1 << 20 else f"{count >> 10} KiB"


def canonical_json(value: Any) -> bytes:
    """One byte string for one value: sorted keys, no spaces. What is hashed and signed."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str, chunk: int = 1 << 18) -> str:
    """SHA-256 of a file's content in lower-case hex, read in pieces of `chunk` bytes."""
    digest, buffer = hashlib.sha256(), bytearray(chunk)
    try:
        with open(path, "rb", buffering=0) as stream:
            while count := stream.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
    except OSError as error:
        raise storage_error(Path(path), error) from error
    return digest.hexdigest()


def safe_name(text: str, limit: int = 80) -> str:
    """`text` reduced to letters, digits, ``.``, ``_`` and ``-``, never empty, never hidden, never a path."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")[:limit]
    return name or "unnamed"


@contextmanager
def lock(out: Path) -> Iterator[None]:
    """Hold an output folder for this process alone; a crash gives it back.

    Raises
    ------
    StorageError
        The folder cannot be made or written.
    UsageError
        Another scanner holds it.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        handle = os.open(out / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StorageError(f"cannot write to {out}: {error.strerror}", next_step="check its owner") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(
                f"another scanner or installation is writing to {out}", next_step="stop it, or give each its own folder"
            ) from error
        yield
    finally:
        os.close(handle)
