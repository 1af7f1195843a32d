"""Who is logged in. Kept in memory alone: a page that starts anew asks everybody for their PIN."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

from .people import Entry, People

COOKIE = "__Host-edgedx"
"""The prefix binds it to this host, this path and TLS (RFC 6265bis, 4.1.3.2)."""
LONGEST_SECONDS = 12 * 3600.0
"""A log-in of one shift, however busy."""
_OF_ONE, _ALL = 8, 512
"""Log-ins at a time; the one that did nothing for longest makes room."""


@dataclass
class Session:
    """One log-in.

    Attributes
    ----------
    csrf : str
        Token that every form of it carries.
    """

    token: str
    number: int
    epoch: int
    csrf: str
    begun: float
    seen: float


class Sessions:
    """All log-ins of one page. They end by log-off, by doing nothing, or when PIN or role are changed."""

    def __init__(self, people: People, idle_seconds: float, now: Callable[[], float] = time.monotonic) -> None:
        self._people, self._idle, self._now = people, idle_seconds, now
        self._open: dict[str, Session] = {}

    def begin(self, entry: Entry) -> Session:
        """Log somebody in; the token is a new one, whatever the browser had before."""
        now = self._now()
        self._drop([token for token, one in self._open.items() if self._is_over(one)])
        mine = sorted((one for one in self._open.values() if one.number == entry.number), key=lambda one: one.seen)
        every = sorted(self._open.values(), key=lambda one: one.seen)
        self._drop([one.token for one in mine[: max(0, len(mine) - _OF_ONE + 1)]])
        self._drop([one.token for one in every[: max(0, len(every) - _ALL + 1)]])
        token, csrf = secrets.token_urlsafe(32), secrets.token_urlsafe(24)
        session = Session(token, entry.number, entry.epoch, csrf, now, now)
        self._open[token] = session
        return session

    def find(self, token: str, *, active: bool = True) -> tuple[Session, Entry] | None:
        """A log-in that is not over, with the person as they are now.

        Parameters
        ----------
        active : bool
            Whether a person did something; False for what a page asks by itself.
        """
        session = self._open.get(token)
        if session is None:
            return None
        entry = self._people.get(session.number)
        if entry is None or entry.epoch != session.epoch or self._is_over(session):
            self._drop([token])
            return None
        if active:
            session.seen = self._now()
        return session, entry

    def is_alive(self, session: Session) -> bool:
        """Whether it is not over, by time or log-off; asked of what streams to a browser for long."""
        return self._open.get(session.token) is session and not self._is_over(session)

    def end(self, token: str) -> None:
        """Log off."""
        self._drop([token])

    def _is_over(self, session: Session) -> bool:
        now = self._now()
        return now - session.seen > self._idle or now - session.begun > LONGEST_SECONDS

    def _drop(self, tokens: list[str]) -> None:
        for token in tokens:
            self._open.pop(token, None)
