"""Upload: files straight onto the inbox's disk, for the scanner to read; and what became of each."""

from __future__ import annotations

import math
import re
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgedx.core.errors import InputOutputError
from edgedx.core.messages import say

from .door.bodies import LastWord, TooSlow
from .door.checks import client_of, is_token, later
from .door.incoming import Arriving
from .door.parts import Field, FileBegins, FileEnds, NoForm, Part, Piece, parts
from .reading.ledger import LEDGER
from .render import audited, door_of, refuse, render, settings_of

_BLOCK = 1 << 20
"""Written at a time."""
_SLACK = 1 << 20
"""Of a form around its files."""
_AT_A_TIME = 8


@dataclass
class _Stopped(Exception):
    """No further file of this request is taken."""

    status: int
    key: str
    seconds: float = 0.0
    values: dict[str, Any] = field(default_factory=dict)


async def ask(request: Request) -> Response:
    """The page to send images at."""
    settings = settings_of(request)
    if settings.inbox is None:
        return refuse(request, 404, "door.no_inbox")
    return render(request, "upload.html", files=[], problem="", limits=settings.limits)


async def upload(request: Request) -> Response | LastWord:
    """Take the files of a form, one after the other.

    Answers with ``{"files": [{"sha256": ...}, ...], "error": ..., "sentence": ...}`` where JSON is accepted, else with
    a page. Files that were whole are kept, whatever came after them.
    """
    settings, waiting = settings_of(request), request.app.state
    if settings.inbox is None:
        return refuse(request, 404, "door.no_inbox")
    size = request.headers.get("content-length", "0")
    if size.isdigit() and int(size) > settings.limits.upload_bytes + _SLACK:
        return _answer(request, [], _too_large(request))
    if waiting.uploading >= _AT_A_TIME:
        return _answer(request, [], _Stopped(503, "door.uploads_busy", 5.0))
    taken: list[str] = []
    waiting.uploading += 1
    try:
        await _Upload(request, settings.inbox, taken).take()
    except _Stopped as stopped:
        return _answer(request, taken, stopped)
    except NoForm:
        return _answer(request, taken, _Stopped(400, "door.no_form"))
    except (ClientDisconnect, TooSlow):
        return _answer(request, taken, _Stopped(408, "door.too_slow"))
    except InputOutputError:
        return _answer(request, taken, _Stopped(507, "door.storage"))
    finally:
        waiting.uploading -= 1
    return _answer(request, taken, None if taken else _Stopped(400, "door.no_file"))


class _Upload:
    """One request with files."""

    def __init__(self, request: Request, inbox: Path, taken: list[str]) -> None:
        self.request, self.inbox, self.taken = request, inbox, taken
        self.limits = settings_of(request).limits
        self.allowed = bool(request.state.token_checked)
        self.file: Arriving | None = None
        self.block = bytearray()
        self.size, self.count = 0, 0

    async def take(self) -> None:
        """Read the form to its end."""
        try:
            async for part in parts(self.request.headers.get("content-type", ""), self._body()):
                await self._one(part)
        finally:
            if self.file is not None:
                await run_in_threadpool(self.file.discard)

    async def _body(self) -> Any:
        async for data in self.request.stream():
            self.size += len(data)
            if self.size > self.limits.upload_bytes + _SLACK:
                raise _too_large(self.request)
            yield data

    async def _one(self, part: Part) -> None:
        if isinstance(part, Field):
            self.allowed = self.allowed or (part.name == "csrf" and is_token(self.request, part.value))
        elif not self.allowed:  # before a byte of any file is kept
            raise _Stopped(403, "door.token")
        elif isinstance(part, FileBegins):
            await self._begin(part)
        elif isinstance(part, Piece):
            self.block += part.data
            if len(self.block) >= _BLOCK:
                await self._write()
        elif isinstance(part, FileEnds):
            await self._end()

    async def _begin(self, part: FileBegins) -> None:
        if part.empty_name:  # a form sent with no file chosen
            return
        self.count += 1
        if self.count > self.limits.upload_files:
            raise _Stopped(413, "door.too_many", values={"files": self.limits.upload_files})
        door = door_of(self.request)
        who = self.request.state.number or client_of(self.request)
        if wait := door.uploads.take(who):
            raise _Stopped(429, "door.uploads_often", wait, {"minutes": math.ceil(wait / 60)})
        self.file = await run_in_threadpool(Arriving, self.inbox, self.limits.disk_floor)

    async def _write(self) -> None:
        block, self.block = bytes(self.block), bytearray()
        if self.file is not None and block:
            await run_in_threadpool(self.file.write, block)

    async def _end(self) -> None:
        await self._write()
        file, self.file = self.file, None
        if file is None:
            return
        try:
            if file.bytes == 0:
                raise _Stopped(400, "door.empty_file")
            self.taken.append(await run_in_threadpool(self._keep, file))
        finally:
            await run_in_threadpool(file.discard)

    def _keep(self, file: Arriving) -> str:
        audited(self.request, "upload", sha256=file.sha256, bytes=file.bytes)
        return file.finish()


def _too_large(request: Request) -> _Stopped:
    return _Stopped(413, "door.upload_large", values={"megabytes": settings_of(request).limits.upload_bytes >> 20})


def _answer(request: Request, taken: list[str], stopped: _Stopped | None) -> Response | LastWord:
    status = stopped.status if stopped else 200
    sentence = say(request.state.language, stopped.key, **stopped.values) if stopped else ""
    if "application/json" in request.headers.get("accept", ""):
        answer: dict[str, Any] = {"files": [{"sha256": sha256, "state": "waiting"} for sha256 in taken]}
        if stopped:
            answer |= {"error": stopped.key, "sentence": sentence}
        reply: Response = JSONResponse(answer, status_code=status)
    else:
        limits = settings_of(request).limits
        reply = render(request, "upload.html", status=status, files=taken, problem=sentence, limits=limits)
    if stopped and stopped.seconds:
        later(reply, stopped.seconds)
    return LastWord(reply) if stopped else reply


def state(request: Request) -> Response:
    """What became of a file that was sent: ``{"state": ..., "key": ...}``.

    States: ``waiting`` (the scanner has not read it yet), ``done``, ``refused``, ``quarantined``. No answer of the
    model is in it: some are to be given before it is seen.
    """
    sha256 = str(request.path_params["sha256"])
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        return refuse(request, 404, "door.not_found")
    status, key = state_of(settings_of(request).out / LEDGER, sha256)
    return JSONResponse({"state": status, "key": key})


def state_of(ledger: Path, sha256: str) -> tuple[str, str | None]:
    """State of a content by the ledger, which is only read, and the address of its newest result: half of the key."""
    statement = "SELECT status, key FROM items WHERE sha256 = ? ORDER BY sequence DESC LIMIT 1"
    try:
        with closing(sqlite3.connect(f"file:{quote(str(ledger.absolute()))}?mode=ro", uri=True, timeout=5.0)) as looked:
            row = looked.execute(statement, (sha256,)).fetchone()
    except sqlite3.Error:  # no scanner has run yet, or its journal is to be rolled back first
        row = None
    if row is None or row[0] not in ("done", "refused", "quarantined"):
        return "waiting", None
    return str(row[0]), str(row[1])[:32]


routes = [
    Route("/upload", ask, methods=["GET"], name="upload"),
    Route("/upload", upload, methods=["POST"]),
    Route("/upload/{sha256}", state, methods=["GET"]),
]
