"""A first page, until the worklist is there."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .render import render


def welcome(request: Request) -> Response:
    """Say that the page runs."""
    return render(request, "welcome.html")


routes = [Route("/", welcome, name="worklist")]
