"""What the door of one page knows: its people, who of them is logged in, and who must wait."""

from __future__ import annotations

import asyncio
import hmac
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from .limits import Limits
from .people import Entry, People
from .pins import is_pin
from .sessions import Session, Sessions
from .tries import Buckets, Tries

T = TypeVar("T")
CODE_SIGNS = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
"""Of the one-time code: none that looks like another."""
_CODE_LENGTH = 10
_OF_ADDRESS = 20
"""Wrong PINs from one network address, whoever they are for: a tablet is shared, a name is not."""
_WAITING = 8
"""Log-ins that wait for their turn: one is worked out at a time, as each costs 8 MiB and a third of a second."""


@dataclass(frozen=True)
class Refused:
    """A log-in that failed.

    Attributes
    ----------
    key : str
        Message key of the sentence.
    seconds : int
        Until the next try.
    """

    key: str
    seconds: int = 0


@dataclass
class Door:
    """One page's; see `limits` for its bounds.

    Attributes
    ----------
    secure : bool
        Whether one must log in.
    people : People or None
        None where one need not.
    code : str
        With which the first administrator is made, in the browser: see `first_code`.
    """

    secure: bool
    names: frozenset[str]
    limits: Limits
    people: People | None = None
    code: str = ""
    secret: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def __post_init__(self) -> None:
        self.buckets = Buckets(self.limits.burst, self.limits.per_second)
        self.uploads = Buckets(self.limits.uploads, self.limits.uploads / self.limits.uploads_seconds)
        self.tries = Tries(self.limits)
        self.addresses = Tries(replace(self.limits, tries=_OF_ADDRESS))
        self.sessions = Sessions(self.people, self.limits.idle_seconds) if self.people is not None else None
        self.worker = ThreadPoolExecutor(1, "pin")
        self.waiting = 0

    @classmethod
    def open(cls, out: Path, *, secure: bool, names: frozenset[str], limits: Limits) -> Door:
        """With the people of ``OUT/people.sqlite`` where one must log in.

        Raises
        ------
        StorageError
            It cannot be opened or written.
        """
        people = People(out) if secure else None
        fresh = people is not None and people.is_empty()
        code = "".join(secrets.choice(CODE_SIGNS) for _ in range(_CODE_LENGTH)) if fresh else ""
        return cls(secure, names, limits, people, code)

    def first_code(self) -> str:
        """The one-time code; empty as soon as there is somebody, made in the browser or at the console."""
        if self.code and self.people is not None and not self.people.is_empty():
            self.code = ""
        return self.code

    def token_for(self, what: str) -> str:
        """CSRF token of who has no log-in: nobody else can know it, as no page of this one is shown elsewhere."""
        return hmac.new(self.secret, what.encode(), "sha256").hexdigest()

    async def log_in(self, name: str, pin: str, address: str) -> tuple[Session, Entry] | Refused:
        """Check name and PIN.

        Raises
        ------
        StorageError
            It cannot be counted: nobody may try without that.
        """
        assert self.people is not None and self.sessions is not None
        entry = self.people.find(name)
        who: str | int = name.casefold().strip()[:80] if entry is None else entry.number
        wait = max(self.wait_of(entry, who), self.addresses.wait(address))
        if wait > 0:
            return Refused("door.wait", int(wait) + 1)
        if self.waiting >= _WAITING:
            return Refused("door.busy", 5)
        self.addresses.count(address)
        if not await self.is_right(entry, pin, who) or entry is None:
            return Refused("door.wrong")
        self.addresses.forget(address)
        return self.sessions.begin(entry), entry

    def wait_of(self, entry: Entry | None, who: str | int) -> float:
        """Seconds until the next try; none after a new PIN, which the administrator or the console gave."""
        if entry is not None and entry.wrong == 0:
            self.tries.forget(who)
        return self.tries.wait(who, entry.wrong if entry else 0)

    async def is_right(self, entry: Entry | None, pin: str, who: str | int | None = None) -> bool:
        """Whether this is the PIN of somebody; counted as wrong, durably, before it is known to be.

        Parameters
        ----------
        entry : Entry or None
            None takes as long, and is wrong.
        who : str or int, optional
            Under which the try counts; the person's number unless given.
        """
        assert self.people is not None
        name = who if who is not None or entry is None else entry.number
        self.tries.count(name, entry.wrong + 1 if entry else 0)
        right = await self.work(self._is_right, entry, pin)
        if right:
            self.tries.forget(name)
        return right

    def _is_right(self, entry: Entry | None, pin: str) -> bool:
        assert self.people is not None
        if entry is None:
            return is_pin(pin, b"")
        self.people.count_wrong(entry.number)
        right = is_pin(pin, entry.pin)
        if right:
            self.people.acquit(entry.number)
        return right

    async def work(self, function: Callable[..., T], *arguments: Any, **named: Any) -> T:
        """Have the one thread do it that works out PINs and waits for the disk: nobody else waits meanwhile."""
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.worker, partial(function, *arguments, **named))
        finally:
            self.waiting -= 1

    def is_code(self, given: str) -> bool:
        """Whether this is the one-time code, as a person may write it."""
        written = "".join(given.upper().split()).replace("-", "")
        return hmac.compare_digest(written.encode(), self.first_code().encode()) and bool(self.code)

    def close(self) -> None:
        """No more."""
        self.worker.shutdown(wait=False, cancel_futures=True)
        if self.people is not None:
            self.people.close()
