"""A line of the worklist as a person may see it: what is read blind says nothing of the model's answer."""

from __future__ import annotations

import os
from dataclasses import dataclass

from starlette.requests import Request

from edgedx.core.messages import say
from edgedx.core.text import printable
from edgedx.device.clinic.answers import is_blind
from edgedx.device.clinic.worklist import LOOK, NOTHING_FOUND, SAID

from .reading.ledger import Row
from .reading.records import Records
from .reading.results import clock
from .reading.words import why
from .render import settings_of


@dataclass(frozen=True)
class Line:
    """One line.

    Attributes
    ----------
    key : str
        First 32 characters of the result key: the image's address.
    kind : str
        ``look``, ``nothing``, ``said``, ``unread`` or ``blind``; a class of the style, never the only sign.
    word : str
        The one big word.
    label : str
        What the model said, small; empty where there is nothing to add.
    name : str
        Of the file, where the administrator allows it; else empty.
    code : str
        The image's short name on the page.
    time : str
    answered : bool
        By this person.
    """

    key: str
    kind: str
    word: str
    label: str
    name: str
    code: str
    time: str
    answered: bool


def records_of(request: Request) -> Records:
    """What the page reads, opened once."""
    records: Records = request.app.state.records
    return records


def lines(request: Request, rows: list[Row]) -> list[Line]:
    """Lines for the person who asks."""
    records, settings = records_of(request), settings_of(request)
    language: str = request.state.language
    answered = records.answered(rows, request.state.person.name)
    found = []
    for row in rows:
        mine = row.key in answered
        hidden = row.status == "done" and not mine and is_blind(row.sha256, row.bundle, settings.blind_share)
        kind, word, label = ("blind", say(language, "list.blind"), "") if hidden else _said(row, language)
        name = shown_name(row.name) if settings.show_names else ""
        found.append(Line(row.key[:32], kind, word, label, name, row.key[:8], clock(row.created), mine))
    return found


def _said(row: Row, language: str) -> tuple[str, str, str]:
    label = (row.label or "").replace("|", ", ")
    if row.look == LOOK:
        return "look", say(language, "list.look"), label
    if row.look == NOTHING_FOUND:
        return "nothing", say(language, "list.nothing"), label
    if row.look == SAID and row.status == "done":
        return "said", label or say(language, "list.read"), ""
    return "unread", say(language, "list.unread", why=why(language, row.code)), ""


def shown_name(name: str) -> str:
    """A file's name as text that can be shown: what is no visible character is escaped."""
    return printable(os.fsencode(name).decode(errors="backslashreplace"))
