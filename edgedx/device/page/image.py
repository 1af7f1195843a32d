"""One image: picture, model's view, probabilities, reasons; and the pictures themselves, as PNG."""

from __future__ import annotations

import re
from typing import Any, cast

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from edgedx.core.codes import Code
from edgedx.core.errors import ImageError, InputOutputError
from edgedx.core.messages import say

from .lines import lines, records_of
from .reading.ledger import Row
from .reading.pictures import VIEWS, View
from .reading.results import ResultFile
from .reading.words import what_to_do, why
from .render import audited, render, settings_of

_KEY = re.compile(r"[0-9a-f]{32}")
_GONE = {"GONE": "picture.gone", "NO_BUNDLE": "picture.no_bundle", "NO_MAP": "picture.no_map"}


def found(request: Request) -> tuple[Row, ResultFile]:
    """The line and the result of the image that the address names."""
    key = request.path_params["key"]
    row = records_of(request).ledger.row(key) if _KEY.fullmatch(key) else None
    if row is None:
        raise HTTPException(404)
    try:
        return row, ResultFile(settings_of(request).out, row.key)
    except InputOutputError as error:
        raise HTTPException(404) from error


def image(request: Request) -> Response:
    """The page of one image."""
    row, result = found(request)
    audited(request, "look", key=row.key)
    return page_of(request, row, result)


def page_of(request: Request, row: Row, result: ResultFile, *, status: int = 200, problem: str = "") -> Response:
    """The page, after an answer that could not be taken too."""
    records, person, settings = records_of(request), request.state.person, settings_of(request)
    hidden = records.is_hidden(row, person.name)
    language: str = request.state.language
    values: dict[str, Any] = {
        "key": row.key[:32],
        "line": lines(request, [row])[0],
        "hidden": hidden,
        "result": None if hidden else result,
        "classes": result.classes,
        "several": result.is_multilabel,
        "asked": row.status == "done",
        "map_asked": not hidden and request.query_params.get("map") == "1",
        "wide": request.query_params.get("window") == "full",
        "history": [] if hidden else records.answers.history(row.key),
        "mine": None,
        "problem": problem,
        "kind": result.source.get("format"),
        "there": records.original(row) is not None,
        "same_model": settings.root is not None,
        "drawn": (records.out / "results" / f"{row.key[:32]}.png").is_file(),
    }
    mine = [answer for answer in values["history"] if answer.person == person.name]
    values["mine"] = mine[-1] if mine else None
    if row.status != "done":
        code = result.code
        known = code in Code.__members__
        values |= {
            "why": why(language, code),
            "do": what_to_do(language, code),
            "code": code if known else "",
        }
    return render(request, "image.html", status=status, **values)


def picture(request: Request) -> Response:
    """One picture; what a person may not see yet, and what cannot be drawn, is a sentence."""
    row, result = found(request)
    view = request.path_params["view"]
    if view not in VIEWS:
        raise HTTPException(404)
    if view == "map" and records_of(request).is_hidden(row, request.state.person.name):
        return _sentence(request, 403, "picture.after_answer")
    if view == "map" and row.status != "done":
        return _sentence(request, 404, "picture.no_map")
    try:
        data = records_of(request).picture(row, result, cast(View, view))
    except ImageError as error:
        return _sentence(request, 404, _GONE.get(error.code, "picture.not_drawn"))
    return Response(data, media_type="image/png", headers={"Cache-Control": "no-store"})


def _sentence(request: Request, status: int, key: str) -> Response:
    return PlainTextResponse(say(request.state.language, key) + "\n", status_code=status)


def short(request: Request) -> Response:
    """The address without a slash at its end is the image's."""
    return RedirectResponse(f"/image/{request.path_params['key']}", 303)


routes = [
    Route("/image/{key}", image, name="image"),
    Route("/image/{key}/{view}.png", picture, name="picture"),
    Route("/image/{key}/", short),
]
