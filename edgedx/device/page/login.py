"""Log in, choose a PIN, choose a language, log off; and the first administrator of a box."""

from __future__ import annotations

import math

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edgedx.core.errors import UsageError
from edgedx.core.messages import LANGUAGES

from .door.checks import client_of, later
from .door.door import Refused
from .door.people import Entry
from .door.pins import LEAST, problem_with
from .door.sessions import COOKIE, Session
from .render import LANGUAGE, audited, door_of, refuse, render

_YEAR = 365 * 24 * 3600


async def ask(request: Request) -> Response:
    """The page to log in at; who is logged in goes on."""
    goal = _goal(request.query_params.get("next", ""))
    if request.state.person is not None:
        return RedirectResponse(goal, 303)
    if door_of(request).first_code():
        return RedirectResponse("/first", 303)
    return _login(request, goal)


async def log_in(request: Request) -> Response:
    """Check name and PIN."""
    form = await request.form()
    name, pin = str(form.get("name", ""))[:200], str(form.get("pin", ""))
    goal, door = _goal(str(form.get("next", ""))), door_of(request)
    if not door.secure:
        return RedirectResponse(goal, 303)
    found = await door.log_in(name, pin, client_of(request))
    if isinstance(found, Refused):
        await door.work(request.app.state.looks.write, "login", outcome="refused", why=found.key.removeprefix("door."))
        status = 429 if found.seconds else 401
        page = _login(request, goal, found.key, status, seconds=found.seconds, minutes=math.ceil(found.seconds / 60))
        return later(page, found.seconds) if found.seconds else page
    session, entry = found
    return await _enter(request, session, entry, goal if entry.own_pin else "/pin")


async def ask_first(request: Request) -> Response:
    """The page that makes the first administrator."""
    if not door_of(request).first_code():
        return RedirectResponse("/login", 303)
    return _first(request)


async def make_first(request: Request) -> Response:
    """Make the first administrator, with the one-time code that the box's console shows."""
    door, form = door_of(request), await request.form()
    if not door.first_code() or door.people is None or door.sessions is None:
        return refuse(request, 403, "door.no_first")
    address = client_of(request)
    if (wait := door.tries.wait("code")) > 0 or (wait := door.addresses.wait(address)) > 0:
        return later(_first(request, "door.wait", 429, seconds=math.ceil(wait)), wait)
    name, pin, repeated = (str(form.get(field, "")) for field in ("name", "pin", "again"))
    if not door.is_code(str(form.get("code", ""))):
        door.tries.count("code")
        door.addresses.count(address)
        await door.work(request.app.state.looks.write, "login", outcome="refused", why="code")
        return _first(request, "door.wrong_code", 401)
    if problem := _problem(pin, repeated):
        return _first(request, problem, 400, least=LEAST)
    try:
        entry = await door.work(door.people.add, name, "administrator", pin, own_pin=True)
    except UsageError:
        return _first(request, "door.name", 400)
    door.code = ""
    await door.work(request.app.state.looks.write, "people", subject=entry.number, change="first administrator")
    return await _enter(request, door.sessions.begin(entry), entry, "/")


async def ask_pin(request: Request) -> Response:
    """The page to choose one's own PIN at."""
    if request.state.session is None:
        return RedirectResponse("/", 303)
    return _pin(request)


async def choose_pin(request: Request) -> Response:
    """Set one's own PIN; every other log-in of this person is over."""
    door, session, form = door_of(request), request.state.session, await request.form()
    if session is None or door.people is None or door.sessions is None:
        return RedirectResponse("/", 303)
    entry = door.people.get(session.number)
    if entry is None:
        return RedirectResponse("/login", 303)
    before, pin, repeated = (str(form.get(field, "")) for field in ("before", "pin", "again"))
    if (wait := door.wait_of(entry, entry.number)) > 0:
        return later(_pin(request, "door.wait", 429, seconds=math.ceil(wait)), wait)
    problem = _problem(pin, repeated) or ("door.pin_same" if pin == before else "")
    if problem:
        return _pin(request, problem, 400)
    if not await door.is_right(entry, before):
        return _pin(request, "door.wrong_pin", 401)
    await door.work(door.people.set_pin, entry.number, pin, own_pin=True)
    await door.work(audited, request, "people", subject=entry.number, change="own PIN")
    renewed = door.people.get(entry.number)
    assert renewed is not None
    return await _enter(request, door.sessions.begin(renewed), renewed, "/")


async def log_off(request: Request) -> Response:
    """End this log-in."""
    door, session = door_of(request), request.state.session
    if session is not None and door.sessions is not None:
        await door.work(audited, request, "logoff")
        door.sessions.end(session.token)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer


async def choose_language(request: Request) -> Response:
    """Speak another language, for good to who is logged in, else in this browser."""
    form = await request.form()
    language, goal = str(form.get("language", "")), _goal(str(form.get("next", "")))
    answer = RedirectResponse(goal, 303)
    if language in LANGUAGES:
        door, session = door_of(request), request.state.session
        if session is not None and door.people is not None:
            await door.work(door.people.set_language, session.number, language)
        answer.set_cookie(
            LANGUAGE, language, max_age=_YEAR, path="/", secure=door.secure, httponly=True, samesite="strict"
        )
    return answer


async def _enter(request: Request, session: Session, entry: Entry, goal: str) -> Response:
    """Give the browser its log-in, which the audit log has before."""
    await door_of(request).work(request.app.state.looks.write, "login", person=entry.number, outcome="in")
    answer = RedirectResponse(goal, 303)
    answer.set_cookie(COOKIE, session.token, path="/", secure=True, httponly=True, samesite="strict")
    return answer


def _login(request: Request, goal: str, problem: str = "", status: int = 200, **values: object) -> Response:
    return render(request, "login.html", status=status, goal=goal, problem=problem, least=LEAST, values=values)


def _first(request: Request, problem: str = "", status: int = 200, **values: object) -> Response:
    return render(request, "first.html", status=status, problem=problem, least=LEAST, values=values)


def _pin(request: Request, problem: str = "", status: int = 200, **values: object) -> Response:
    return render(request, "pin.html", status=status, problem=problem, least=LEAST, values=values)


def _problem(pin: str, repeated: str) -> str:
    return problem_with(pin) or ("" if pin == repeated else "door.pin_differs")


def _goal(path: str) -> str:
    """A path of this page to go on to; the worklist for anything else."""
    plain = path.startswith("/") and not path.startswith("//") and "\\" not in path and path.isprintable()
    return path if plain and not path.startswith(("/login", "/logoff")) else "/"


routes = [
    Route("/login", ask, methods=["GET"], name="login"),
    Route("/login", log_in, methods=["POST"]),
    Route("/first", ask_first, methods=["GET"], name="first"),
    Route("/first", make_first, methods=["POST"]),
    Route("/pin", ask_pin, methods=["GET"], name="pin"),
    Route("/pin", choose_pin, methods=["POST"]),
    Route("/logoff", log_off, methods=["POST"], name="logoff"),
    Route("/language", choose_language, methods=["POST"], name="language"),
]
