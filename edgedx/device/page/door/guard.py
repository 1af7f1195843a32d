"""The one way in: every request passes here before a view sees it, and every answer on its way out.

::

    Host ours? -> not too often? -> a path without tricks? -> who is it, and may they? -> a form of ours? -> view
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgedx.core.errors import StorageError

from .bodies import TooLarge, TooSlow, timed
from .checks import LOGIN, STATIC, Checks, Refuse
from .door import Door

log = logging.getLogger("edgedx.page")

_PACKAGE = Path(__file__).resolve().parents[3]
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not no-referrer: a form's Origin would be null then (Fetch, "append a request Origin header").
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class _Over(Exception):
    """A log-in ended while an answer to it was streamed."""


class Guard:
    """ASGI middleware; see `make_app` for what it gives to views.

    Parameters
    ----------
    door : Door
    language, refuse : callable
        See `Checks`.
    """

    def __init__(self, app: ASGIApp, door: Door, language: Callable[[Request], str], refuse: Refuse) -> None:
        self.app, self.door, self.refuse = app, door, refuse
        self.checks = Checks(door, language, refuse)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope.setdefault("state", {})
        request, begun = Request(scope), False

        async def out(message: Message) -> None:
            nonlocal begun
            if message["type"] == "http.response.start":
                begun = True
                self._finish(request, message)
            elif message.get("more_body") and not self._may_go_on(request):
                raise _Over
            await send(message)

        async def reply(status: int, key: str) -> None:
            if not begun:  # else the connection is closed, and the browser sees that something is missing
                await self.refuse(request, status, key)(scope, receive, out)

        try:
            answer = self.checks.before(request)
            inward = timed(receive, self.door.limits)
            if answer is None:
                answer, inward = await self.checks.form(request, inward)
            await (answer or self.app)(scope, inward, out)
        except _Over:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        except TooLarge:
            await reply(413, "door.too_large")
        except TooSlow:
            await reply(408, "door.too_slow")
        except StorageError as error:
            log.error("%s in %s", type(error).__name__, _place(error))
            await reply(507, "door.storage")
        except Exception as error:  # its text may quote a file's name: the log gets the place alone
            log.error("%s in %s", type(error).__name__, _place(error))
            await reply(500, "door.fault")

    def _may_go_on(self, request: Request) -> bool:
        session = request.state.session
        return session is None or (self.door.sessions is not None and self.door.sessions.is_alive(session))

    def _finish(self, request: Request, message: Message) -> None:
        """Headers of every answer."""
        headers = MutableHeaders(scope=message)
        for name, value in _HEADERS.items():
            headers[name] = value
        path: str = request.scope["path"]
        if path.startswith(STATIC):
            headers["Cache-Control"] = "no-cache"  # kept, and asked after: an update of edgedx is seen at once
            return
        headers.setdefault("Cache-Control", "no-store")
        shown = message["status"] == 200 and headers.get("content-type", "").startswith("text/html")
        if request.state.session is not None and shown and request.method == "GET":
            # What is on the screen goes, too, when nobody did anything.
            seconds = int(self.door.limits.idle_seconds) + 2
            headers["Refresh"] = f"{seconds}; url={LOGIN}?next={quote(path)}"


def _place(error: BaseException) -> str:
    """File and line of the innermost frame of edgedx that an exception came through."""
    place, trace = "the server", error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(_PACKAGE):
            place = f"{file.relative_to(_PACKAGE.parent)}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
