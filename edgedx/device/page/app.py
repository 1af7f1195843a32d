"""The page as one ASGI application: views behind the door."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from edgedx.device.decode.search import make_search_key
from edgedx.device.operation.notify import notify

from .door.door import Door
from .door.guard import Guard
from .door.incoming import remove_left
from .door.looks import Looks
from .reading.records import Records
from .render import STATIC, language_of, refuse
from .settings import PageSettings


def make_app(settings: PageSettings) -> Starlette:
    """The application that serves one page.

    Views find ``request.state.person`` (a `Person`; None on the pages of who is not logged in),
    ``request.state.csrf`` and ``request.state.language``, and ``request.app.state.settings``. A request without the
    right to come in, of a forged host, or that changes something without its token never reaches a view
    (`door.guard`); below ``/admin`` only an administrator's does. What a page asks for by itself says so in the header
    ``X-Background``: it keeps nobody logged in.

    Parameters
    ----------
    settings : PageSettings

    Raises
    ------
    StorageError
        The list of people cannot be opened.
    """
    door = Door.open(settings.out, secure=settings.secure, names=frozenset(settings.names), limits=settings.limits)
    app = Starlette(
        routes=_routes(),
        middleware=[Middleware(Guard, door=door, language=language_of, refuse=refuse)],
        exception_handlers={HTTPException: _not_found},
        lifespan=_lifespan,
    )
    app.state.settings, app.state.door, app.state.looks = settings, door, Looks(settings.out)
    app.state.records = Records(settings.out, settings.root, settings.inbox, settings.blind_share)
    if settings.show_names:
        make_search_key(settings.out)
    app.state.uploading = 0
    if settings.inbox is not None:
        remove_left(settings.inbox)
    return app


def _routes() -> list[BaseRoute]:
    """Each view file has its ``routes``."""
    from . import admin, answer, box, image, login, people, upload, worklist

    views = (worklist, image, answer, box, login, upload, people, admin)
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    return [*(route for view in views for route in view.routes), static]


async def _not_found(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    key = {404: "door.not_found", 405: "door.method"}.get(status, "door.fault")
    return refuse(request, status, key)


@asynccontextmanager
async def _lifespan(app: Starlette) -> AsyncIterator[None]:
    """Looks are made durable once a second, and systemd is told that the page lives."""

    async def flush() -> None:
        while True:
            await asyncio.sleep(1.0)
            await asyncio.to_thread(app.state.looks.flush)
            notify("WATCHDOG=1")

    flushing = asyncio.create_task(flush())
    try:
        yield
    finally:
        flushing.cancel()
        with suppress(asyncio.CancelledError):
            await flushing
        app.state.records.close()
        app.state.looks.close()
        app.state.door.close()
