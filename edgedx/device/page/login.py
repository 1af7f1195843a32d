"""Log in and log off."""

from __future__ import annotations

from starlette.routing import Route

routes: list[Route] = []
