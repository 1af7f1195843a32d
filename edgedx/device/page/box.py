"""Is the box well?"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgedx.core.errors import StorageError

from .lines import records_of
from .reading.box import facts, read_box
from .render import render


def box(request: Request) -> Response:
    """One light, one sentence, what to do; and details for the administrator."""
    records = records_of(request)
    health, state = read_box(records.out)
    details: dict[str, str] = {}
    if request.state.person.is_administrator:
        waiting = 0
        with suppress(StorageError):
            waiting = records.ledger.waiting()
        details = facts(records.out, state, waiting)
    troubles = [str(one) for one in state.get("troubles") or []] if request.state.person.is_administrator else []
    return render(request, "box.html", health=health, details=details, troubles=troubles)


routes = [Route("/box", box, name="box")]
