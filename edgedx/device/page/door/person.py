"""Who is before the page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["reader", "administrator"]
ROLES: tuple[Role, ...] = ("reader", "administrator")


@dataclass(frozen=True)
class Person:
    """One who is logged in, or who sits at the box itself.

    Attributes
    ----------
    name : str
        As the administrator wrote it; what answers are kept under. It never reaches the audit log.
    role : str
        ``reader`` sees and answers; ``administrator`` does what changes the box, too.
    language : str
        Empty: that of the box.
    """

    name: str
    role: Role
    language: str = ""

    @property
    def is_administrator(self) -> bool:
        """Whether pages and acts of the administrator are open."""
        return self.role == "administrator"


LOCAL = Person("local", "administrator")
"""Who opens the page on the box itself, where it is served on loopback, without log-in."""
