"""Bytes from a source over a bad line: metadata as a whole, a bundle piece by piece, and neither ever too much."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from edgedx.core.errors import GateRefused, InputOutputError
from edgedx.core.files import sha256_file, storage_error, sync_folder
from edgedx.core.progress import Bar, progress

from .source import ATTEMPTS, PAUSES_S, Interrupted, Missing, Source
from .terms import Release

SYNC_BYTES = 1 << 20
"""How much of a bundle may be lost to a power cut."""

Sleep = Callable[[float], None]


class MetadataFetcher(FetcherInterface):
    """What python-tuf's client reads metadata with.

    Attributes
    ----------
    last : dict of str to bytes
        What came last for each role, for messages about it.
    """

    def __init__(self, source: Source, sleep: Sleep = time.sleep) -> None:
        self._source, self._sleep = source, sleep
        self.last: dict[str, bytes] = {}

    def download_bytes(self, url: str, max_length: int) -> bytes:
        """A file of the repository, asked for again where the line breaks."""
        for attempt in range(ATTEMPTS):
            try:
                data = self._whole(url, max_length)
                self.last[url.rpartition("/")[2].removesuffix(".json").rpartition(".")[2]] = data
                return data
            except Interrupted as error:
                if attempt == ATTEMPTS - 1 or not self._source.patient:
                    raise exceptions.DownloadError(str(error)) from error
                self._sleep(PAUSES_S[min(attempt, len(PAUSES_S) - 1)])
        raise AssertionError

    def _whole(self, url: str, max_length: int) -> bytes:
        data = bytearray()
        for chunk in self._fetch(url):
            data += chunk
            if len(data) > max_length:
                raise exceptions.DownloadLengthMismatchError(f"{url} has more than {max_length} bytes")
        return bytes(data)

    def _fetch(self, url: str) -> Iterator[bytes]:
        try:
            return self._source.open(url)[1]
        except Missing as error:
            raise exceptions.DownloadHTTPError(f"{url} is not there", 404) from error


def fetch_release(source: Source, release: Release, folder: Path, *, sleep: Sleep = time.sleep) -> Path:
    """Fetch a bundle, from where an earlier call ended; what is returned has the hash that was signed.

    Parameters
    ----------
    folder : Path
        Gets ``SHA256.part``, then ``SHA256.edgedx``; what belongs to other releases there is removed.

    Raises
    ------
    InputOutputError
        The line, the stick or the disk failed; what came is kept, and the next call goes on there.
    GateRefused
        What came is not what was signed; nothing of it is kept.
    """
    whole, part = folder / f"{release.sha256}.edgedx", folder / f"{release.sha256}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _tidy(folder, {whole.name, part.name})
        if whole.is_file() and _is(whole, release):
            return whole
        whole.unlink(missing_ok=True)
        if part.is_file() and part.stat().st_size > release.length:
            part.unlink()
        resumed = part.is_file() and part.stat().st_size > 0
        _fill_file(source, release, part, sleep)
        if resumed and not _is(part, release):  # a power cut may have left zeros at its end: once more, from the start
            part.unlink()
            _fill_file(source, release, part, sleep)
        if not _is(part, release):
            part.unlink()
            raise GateRefused(
                f"the file of {release.title} in {source.where} is not the one that was signed: it has another hash",
                next_step="nothing was installed or kept; copy the stick again, or look at who runs the server",
            )
        os.replace(part, whole)
        sync_folder(folder)
    except OSError as error:
        raise storage_error(folder, error) from error
    return whole


def _fill_file(source: Source, release: Release, part: Path, sleep: Sleep) -> None:
    with open(part, "ab", opener=_private) as stream:
        _fill(source, release, stream, sleep)
        stream.flush()
        os.fsync(stream.fileno())


def _private(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


def _tidy(folder: Path, kept: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in kept and path.suffix in (".part", ".edgedx"):
            path.unlink()


def _is(path: Path, release: Release) -> bool:
    return path.stat().st_size == release.length and sha256_file(path) == release.sha256


def _fill(source: Source, release: Release, stream: IO[bytes], sleep: Sleep) -> None:
    """Append until all is there; each failure that follows no progress counts."""
    failed, at = 0, stream.seek(0, os.SEEK_END)
    with progress(f"fetching {release.title}, bytes", release.length, done=at) as bar:
        while at < release.length:
            before, why = at, "it ended too early"
            try:
                at = _append(source, release, stream, at, bar)
            except Missing as error:
                raise InputOutputError(
                    f"{source.where} names {release.title} and does not have its file, {release.address}",
                    next_step="copy the whole repository, targets/ too; on a server, upload targets/ before metadata/",
                ) from error
            except Interrupted as error:
                why, at = str(error), stream.seek(0, os.SEEK_END)
            if at >= release.length:
                return
            failed = 1 if at > before else failed + 1
            if failed >= ATTEMPTS or not source.patient:
                raise InputOutputError(
                    f"{source.where}: {why}; {at} of {release.length} bytes of {release.title} have come, and are kept",
                    next_step="repeat the command when the line is back: it goes on where this ended",
                )
            sleep(PAUSES_S[min(failed - 1, len(PAUSES_S) - 1)])


def _append(source: Source, release: Release, stream: IO[bytes], at: int, bar: Bar) -> int:
    begins, chunks = source.open(release.address, at)
    if begins != at:  # a server that knows no ranges: what it sends again is skipped, and not written twice
        chunks = _skipped(chunks, at - begins)
    synced = at
    for chunk in chunks:
        if at + len(chunk) > release.length:
            stream.flush()
            stream.truncate(0)
            raise GateRefused(
                f"{source.where} sends more than the {release.length} bytes of {release.title} that were signed",
                next_step="nothing was kept; look at who runs that server, or copy the stick again",
            )
        stream.write(chunk)
        at += len(chunk)
        bar.advance(len(chunk))
        if at - synced >= SYNC_BYTES:
            stream.flush()
            os.fsync(stream.fileno())
            synced = at
    stream.flush()
    return at


def _skipped(chunks: Iterator[bytes], count: int) -> Iterator[bytes]:
    for chunk in chunks:
        if count >= len(chunk):
            count -= len(chunk)
            continue
        yield chunk[count:]
        count = 0
