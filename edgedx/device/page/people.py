"""The administrator's list of people: who may come in, and as what."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from edgedx.core.errors import UsageError

from .door.people import Entry, LastAdministrator, People
from .door.person import ROLES
from .door.pins import LEAST, problem_with
from .render import audited, door_of, render


async def show(request: Request) -> Response:
    """Everybody who may log in."""
    return _page(request)


async def add(request: Request) -> Response:
    """Let somebody in, with a PIN that the box draws and shows once."""
    door, form = door_of(request), await request.form()
    if door.people is None:
        return RedirectResponse("/admin/people", 303)
    name, role = str(form.get("name", "")), str(form.get("role", ""))
    if role not in ROLES:
        return _page(request, problem="door.no_role", status=400)
    if door.people.find(name) is not None:
        return _page(request, problem="door.name_taken", status=400)
    pin = drawn_pin()
    try:
        entry = await door.work(door.people.add, name, role, pin)
    except UsageError:
        return _page(request, problem="door.name", status=400)
    await _note(request, entry, "added", role=role)
    return _page(request, shown=entry, pin=pin)


async def renew(request: Request) -> Response:
    """Give somebody who forgot it a new PIN, drawn and shown once."""
    door, form = door_of(request), await request.form()
    if (found := _chosen(door.people, form.get("number"))) is None:
        return RedirectResponse("/admin/people", 303)
    people, entry = found
    pin = drawn_pin()
    await door.work(people.set_pin, entry.number, pin, own_pin=False)
    await _note(request, entry, "new PIN")
    return _page(request, shown=entry, pin=pin)


async def change_role(request: Request) -> Response:
    """Make somebody a reader, or an administrator."""
    return await _change(request, lambda people, entry, role: people.set_role(entry.number, role), "role")


async def remove(request: Request) -> Response:
    """Let somebody in no more."""
    return await _change(request, lambda people, entry, _: people.remove(entry.number), "removed")


async def _change(request: Request, act: Callable[[People, Entry, Any], None], what: str) -> Response:
    door, form = door_of(request), await request.form()
    if (found := _chosen(door.people, form.get("number"))) is None:
        return RedirectResponse("/admin/people", 303)
    people, entry = found
    role = str(form.get("role", ""))
    try:
        await door.work(act, people, entry, role)
    except LastAdministrator:
        return _page(request, problem="door.last_administrator", status=400)
    except UsageError:
        return _page(request, problem="door.no_role", status=400)
    await _note(request, entry, what, **({"role": role} if what == "role" else {}))
    return RedirectResponse("/admin/people", 303)


def drawn_pin() -> str:
    """A PIN of digits, of those that people may choose themselves."""
    while True:
        pin = "".join(secrets.choice("0123456789") for _ in range(LEAST))
        if not problem_with(pin):
            return pin


def _chosen(people: People | None, number: object) -> tuple[People, Entry] | None:
    text = str(number)
    if people is None or not (text.isascii() and text.isdigit() and len(text) < 10):
        return None
    entry = people.get(int(text))
    return None if entry is None else (people, entry)


async def _note(request: Request, entry: Entry, change: str, **facts: Any) -> None:
    await door_of(request).work(audited, request, "people", subject=entry.number, change=change, **facts)


def _page(
    request: Request, *, shown: Entry | None = None, pin: str = "", problem: str = "", status: int = 200
) -> Response:
    people = door_of(request).people
    everybody = None if people is None else people.list()
    spaced = f"{pin[:3]} {pin[3:]}"
    return render(
        request, "people.html", status=status, people=everybody, roles=ROLES, shown=shown, pin=spaced, problem=problem,
        values={}, me=request.state.number,
    )  # fmt: skip


routes = [
    Route("/admin/people", show, methods=["GET"], name="people"),
    Route("/admin/people/add", add, methods=["POST"]),
    Route("/admin/people/pin", renew, methods=["POST"]),
    Route("/admin/people/role", change_role, methods=["POST"]),
    Route("/admin/people/remove", remove, methods=["POST"]),
]
