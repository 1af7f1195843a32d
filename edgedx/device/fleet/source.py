"""Where a repository is read from: a folder (a disk, a stick, a share) or any web server of static files.

Both answer alike, from any offset, so that what was cut off goes on where it ended. Nothing here is trusted: who reads
says how many bytes there may be, and verifies them.
"""

from __future__ import annotations

import http.client
import os
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from edgedx._version import __version__
from edgedx.core.errors import InputOutputError, UsageError
from edgedx.core.files import storage_error

ATTEMPTS = 6
"""Tries in a row that bring nothing before the line counts as gone; each piece that comes starts the count anew."""
PAUSES_S = (1.0, 2.0, 5.0, 10.0, 20.0)
CHUNK = 1 << 14
"""Bytes at a time: at 64 kbit/s one arrives in two seconds."""
CONNECT_S, SILENT_S = 30.0, 60.0
"""How long a connection may take, and how long nothing may arrive on one."""


class Missing(Exception):
    """The repository has no such file (HTTP 404, or 403 as object stores say it)."""


class Interrupted(Exception):
    """The network, or the disk, ended in the middle; asking again may help."""


class Source(Protocol):
    """A repository that can be read."""

    where: str
    patient: bool

    def open(self, path: str, offset: int = 0) -> tuple[int, Iterator[bytes]]:
        """Bytes of a file from `offset` on, or from where the source begins: that is returned beside them.

        Raises
        ------
        Missing, Interrupted
            So does the iterator.
        """


class FolderSource:
    """A folder; `patient` is False: what fails here fails again."""

    patient = False

    def __init__(self, folder: Path) -> None:
        self.where, self._folder = str(folder), folder

    def open(self, path: str, offset: int = 0) -> tuple[int, Iterator[bytes]]:
        """See `Source`."""
        full = self._folder / path
        try:
            handle = os.open(full, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO is never waited for
        except (FileNotFoundError, NotADirectoryError):
            raise Missing(path) from None
        except OSError as error:
            raise storage_error(full, error) from error
        return offset, self._read(handle, full, offset)

    @staticmethod
    def _read(handle: int, full: Path, offset: int) -> Iterator[bytes]:
        try:
            with os.fdopen(handle, "rb", buffering=0) as stream:
                stream.seek(offset)
                while data := stream.read(1 << 18):
                    yield data
        except OSError as error:
            raise storage_error(full, error) from error


class WebSource:
    """A web server; HTTP suffices, as all that is read is verified, and HTTPS hides what is read."""

    patient = True

    def __init__(self, url: str) -> None:
        import urllib3

        self.where, self._url = url, url.rstrip("/")
        parts = urlsplit(url)
        settings = {"timeout": urllib3.Timeout(connect=CONNECT_S, read=SILENT_S), "retries": False, "maxsize": 1}
        proxy = None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)
        if parts.scheme == "https":
            settings["ssl_context"] = ssl.create_default_context()  # the system's certificates
        self._pool = urllib3.ProxyManager(proxy, **settings) if proxy else urllib3.PoolManager(**settings)  # type: ignore[arg-type]
        self._errors = (urllib3.exceptions.HTTPError, http.client.HTTPException, OSError)
        self._redirects = urllib3.Retry(total=3, connect=0, read=0, redirect=3, status=0, other=0)

    def open(self, path: str, offset: int = 0) -> tuple[int, Iterator[bytes]]:
        """See `Source`."""
        headers = {"User-Agent": f"edgedx/{__version__}", "Accept-Encoding": "identity"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
        try:
            response = self._pool.request(
                "GET", f"{self._url}/{quote(path)}", headers=headers, preload_content=False, retries=self._redirects
            )
        except self._errors as error:
            raise Interrupted(_reason(error)) from error
        status = response.status
        if status not in (200, 206):
            response.close()
            if status in (403, 404, 410):
                raise Missing(path)
            if status == 416:  # nothing from there on: it has all, or what it has is not this file
                return offset, iter(())
            raise Interrupted(f"the server answered {status}")
        begins = offset if status == 206 and _begins_at(response.headers.get("Content-Range"), offset) else 0
        if status == 206 and begins != offset:
            response.close()
            raise Interrupted("the server sent another part than the one asked for")
        return begins, self._read(response)

    def _read(self, response: object) -> Iterator[bytes]:
        try:
            yield from response.stream(CHUNK, decode_content=False)  # type: ignore[attr-defined]
        except self._errors as error:
            raise Interrupted(_reason(error)) from error
        finally:
            response.close()  # type: ignore[attr-defined]


def _begins_at(content_range: str | None, offset: int) -> bool:
    return (content_range or "").strip().startswith(f"bytes {offset}-")


def _reason(error: BaseException) -> str:
    """A short reason without addresses and objects."""
    words = {
        "ReadTimeoutError": f"nothing arrived for {SILENT_S:.0f} s",
        "ConnectTimeoutError": f"no connection within {CONNECT_S:.0f} s",
        "NameResolutionError": "the name of the server is not known here",
        "NewConnectionError": "no connection",
        "ProtocolError": "the connection broke",
        "IncompleteRead": "the connection ended too early",
        "SSLError": "the server's certificate is not accepted",
    }
    inner = getattr(error, "reason", None)
    name = type(inner if isinstance(inner, BaseException) else error).__name__
    return words.get(name, f"the network failed ({name})")


def source_of(where: str) -> Source:
    """The source that a text names: ``https://``, ``http://``, else a folder.

    Raises
    ------
    UsageError
        Another kind of address, or an address with a password in it.
    InputOutputError
        The folder is not there, or holds no repository.
    """
    parts = urlsplit(where)
    if "://" in where:
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(
                f"{where} is no address that edgedx reads", next_step="https://..., http://..., or a folder"
            )
        if parts.username or parts.password:
            raise UsageError("the address holds a password", next_step="a repository needs none: all of it is signed")
        return WebSource(where)
    folder = Path(where)
    for wanted in (folder, folder / "metadata"):
        if not wanted.is_dir():
            what = "no folder" if wanted == folder else "no repository in"
            raise InputOutputError(
                f"{what} {folder}",
                next_step="is the stick mounted? A repository is a folder with metadata/ and targets/ in it",
            )
    return FolderSource(folder)
