"""The page as one ASGI application: views behind the door."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles

from .door.guard import Guard
from .door.looks import Looks
from .render import STATIC
from .settings import PageSettings


def make_app(settings: PageSettings) -> Starlette:
    """The application that serves one page.

    Views find ``request.state.person`` (a `Person`), ``request.state.csrf`` and ``request.state.language``, and
    ``request.app.state.settings``. A request without the right to come in, of a forged host, or that changes something
    without its token never reaches a view (`door.guard`).

    Parameters
    ----------
    settings : PageSettings
    """
    app = Starlette(routes=_routes(), middleware=[Middleware(Guard, settings=settings)])
    app.state.settings = settings
    app.state.looks = Looks(settings.out)
    return app


def _routes() -> list[BaseRoute]:
    """Each view file has its ``routes``."""
    from . import login, welcome

    views = (welcome, login)
    static = Mount("/static", StaticFiles(directory=STATIC), name="static")
    return [*(route for view in views for route in view.routes), static]
