"""Pages out of templates: everything that comes from a file, a header or a person is escaped."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from edgedx._version import __version__
from edgedx.core.messages import LANGUAGES, best_language, say

from .door.door import Door
from .settings import PageSettings

_HERE = Path(__file__).parent
STATIC = _HERE / "static"
LANGUAGE = "edgedx-language"
"""Cookie with the language of who is not logged in."""


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(_HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
    )


TEMPLATES = _environment()


def settings_of(request: Request) -> PageSettings:
    """Settings of the app that serves this request."""
    settings: PageSettings = request.app.state.settings
    return settings


def door_of(request: Request) -> Door:
    """The door of the app that serves this request."""
    door: Door = request.app.state.door
    return door


def audited(request: Request, event: str, **facts: Any) -> None:
    """Write what the person does into the audit chain of the box.

    Parameters
    ----------
    event : str
        ``look``, ``answer``, ``login``, ``logoff``, ``refused``, ``people``, ``upload`` or ``export``.
    **facts
        Such as ``key``, the result key of an image; never a name or an id.

    Raises
    ------
    InputOutputError
        It cannot be written; not of a look (see `door.looks`).
    """
    request.app.state.looks.write(event, person=request.state.number, **facts)


def language_of(request: Request) -> str:
    """The person's language, else the one chosen in this browser, else the browser's, else that of the box."""
    person = getattr(request.state, "person", None)
    for wanted in (person.language if person else "", request.cookies.get(LANGUAGE, "")):
        if wanted in LANGUAGES:
            return str(wanted)
    return best_language(request.headers.get("accept-language", ""), settings_of(request).language)


def render(request: Request, template: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """One page.

    Templates know, besides `values`: ``person``, ``settings``, ``language``, ``csrf`` (the token for a hidden field of
    each form), ``t(key, **values)`` (a sentence in the person's language), ``languages``, ``version``.

    Parameters
    ----------
    template : str
        File below ``templates/``.
    status : int
        Of HTTP.
    """
    language = request.state.language
    page = TEMPLATES.get_template(template).render(
        request=request,
        person=request.state.person,
        settings=settings_of(request),
        csrf=request.state.csrf,
        language=language,
        t=partial(say, language),
        languages=LANGUAGES,
        version=__version__,
        **values,
    )
    return HTMLResponse(page, status_code=status)


def refuse(request: Request, status: int, key: str, **values: Any) -> Response:
    """An answer that says in one sentence why there is no other: a page, JSON or a line, as the client reads."""
    sentence = say(request.state.language, key, **values)
    wanted = request.headers.get("accept", "")
    if "text/html" in wanted:
        return render(request, "refused.html", status=status, sentence=sentence)
    if "application/json" in wanted:
        return JSONResponse({"error": key, "sentence": sentence}, status_code=status)
    return PlainTextResponse(sentence + "\n", status_code=status)
