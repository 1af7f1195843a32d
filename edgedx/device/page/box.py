"""Is the box well?"""

from __future__ import annotations

from contextlib import suppress

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from edgedx.core.errors import StorageError

from .lines import records_of
from .reading.box import facts, installed, read_box, streams
from .render import render


def box(request: Request) -> Response:
    """One light, one sentence, what to do; and details for the administrator."""
    records = records_of(request)
    said, state = read_box(records.out)
    details: dict[str, str] = {}
    if request.state.person.is_administrator:
        waiting = 0
        with suppress(StorageError):
            waiting = records.ledger.waiting()
        details = facts(records.out, state, waiting)
        if when := installed(records.root):
            details["installed"] = when
        with suppress(StorageError):
            details["answers"] = str(records.count_answers())
    troubles = [str(one) for one in state.get("troubles") or []] if request.state.person.is_administrator else []
    watched = streams(records.out) if details else []
    return render(request, "box.html", said=said, details=details, troubles=troubles, streams=watched)


routes = [Route("/box", box, name="box")]
