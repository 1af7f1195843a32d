"""The worklist: newest first, live, filtered, searched; the same without script."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, cast
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from edgedx.core.errors import StorageError

from .lines import lines, records_of
from .reading.box import read_box
from .reading.ledger import SHOWS, Show
from .render import render, settings_of

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_LOOK_SECONDS, _STILL_SECONDS = 1.0, 20.0
"""Between looks at whether something changed; and of silence before a sign of life."""
_CALM_SECONDS = 3.0
"""Between two news: a backlog does not make every tablet ask all the time."""


def worklist(request: Request) -> Response:
    """The page."""
    return _page(request, "worklist.html")


def rows(request: Request) -> Response:
    """The list alone, for the script that puts it in place."""
    return _page(request, "rows.html")


def line(request: Request) -> Response:
    """One line, for an image that was sent just now."""
    key = request.path_params["key"]
    row = records_of(request).ledger.row(key) if re.fullmatch("[0-9a-f]{32,64}", key) else None
    if row is None:
        raise HTTPException(404)
    return render(request, "rows.html", lines=lines(request, [row]), older=None, newest="/", before=None, show="all")


def _page(request: Request, template: str) -> Response:
    asked, records, person = request.query_params, records_of(request), request.state.person
    show = cast(Show, asked.get("show") if asked.get("show") in SHOWS else "all")
    day = asked.get("day", "")
    day = day if _DAY.fullmatch(day) else ""
    before = asked.get("before", "")
    place = int(before) if before.isascii() and before.isdigit() and len(before) < 16 else None
    values: dict[str, Any] = {"show": show, "day": day, "before": place, "problem": "", "searched": None}
    try:
        listing = records.ledger.page(show, person.name, day=day or None, before=place)
        values |= {"lines": lines(request, listing.rows), "days": records.ledger.days()}
        older = listing.older
    except StorageError:
        state = read_box(records.out)[1]
        problem = "list.no_ledger" if not state else "list.not_now"
        values |= {"lines": [], "days": [], "problem": problem}
        older = None
    here = {name: value for name, value in (("show", show if show != "all" else ""), ("day", day)) if value}
    values["older"] = None if older is None else "/?" + urlencode({**here, "before": str(older)})
    values["newest"] = "/?" + urlencode(here) if here else "/"
    values["tabs"] = [(one, _address(one, day)) for one in SHOWS]
    values["health"] = read_box(records.out)[0][0]
    return render(request, template, **values)


def _address(show: str, day: str) -> str:
    asked = {name: value for name, value in (("show", "" if show == "all" else show), ("day", day)) if value}
    return "/?" + urlencode(asked) if asked else "/"


async def search(request: Request) -> Response:
    """Images of one patient ID, accession number or file name: exactly, and only where names are allowed.

    The words come in a form and stand in no address: addresses are kept by browsers.
    """
    form = await request.form()
    words = str(form.get("words", "")).strip()[:200]
    return await run_in_threadpool(_found, request, words)


def _found(request: Request, words: str) -> Response:
    records = records_of(request)
    found, problem = [], ""
    if not settings_of(request).show_names:
        problem = "search.not_allowed"
    elif words:
        try:
            short = re.fullmatch(r"[0-9a-f]{8,64}", words)
            row = records.ledger.row(words) if short else None
            found = [row] if row else records.search(words)
        except StorageError:
            problem = "list.not_now"
    values: dict[str, Any] = {
        "lines": lines(request, found), "show": "all", "day": "", "before": None, "older": None, "newest": "/",
        "days": [], "problem": problem, "tabs": [(one, _address(one, "")) for one in SHOWS], "searched": words,
        "health": read_box(records.out)[0][0],
    }  # fmt: skip
    return render(request, "worklist.html", **values)


async def events(request: Request) -> Response:
    """Server-sent events: that there is something new, and nothing about what."""

    async def news() -> AsyncIterator[str]:
        ledger, still = records_of(request).ledger, 0.0
        seen = ledger.version()
        yield "retry: 5000\n\n"
        while not await request.is_disconnected():
            await asyncio.sleep(_LOOK_SECONDS)
            still += _LOOK_SECONDS
            now = ledger.version()
            if now != seen:
                seen, still = now, 0.0
                yield "event: changed\ndata: \n\n"
                await asyncio.sleep(_CALM_SECONDS)
            elif still >= _STILL_SECONDS:
                still = 0.0
                yield ": still here\n\n"

    return StreamingResponse(news(), media_type="text/event-stream")


routes = [
    Route("/", worklist, name="worklist"),
    Route("/rows", rows, name="rows"),
    Route("/line/{key}", line, name="line"),
    Route("/search", search, methods=["POST"], name="search"),
    Route("/events", events, name="events"),
]
