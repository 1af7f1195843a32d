"""The one way in: every request passes here before a view sees it."""

from __future__ import annotations

from starlette.types import ASGIApp, Receive, Scope, Send

from .person import LOCAL


class Guard:
    """ASGI middleware; see `make_app` for what it gives to views."""

    def __init__(self, app: ASGIApp, settings: object) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] == "http":
            scope.setdefault("state", {}).update(person=LOCAL, csrf="", number=0, language="en")
        await self.app(scope, receive, send)
