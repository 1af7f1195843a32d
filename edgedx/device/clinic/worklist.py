"""What a person sees of each image in one line, as the ledger keeps it for the page: one row for each content.

The scanner writes a row in the commit that finishes an image. A row of which only the status is known (of a ledger that
was brought up to date, or made anew) has no time of creation, and is completed from its result when nothing waits.
"""

from __future__ import annotations

import time
from calendar import timegm
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from .answers import drawn

if TYPE_CHECKING:
    from edgedx.core.result import Result

NOTHING_FOUND, LOOK, SAID, NOT_READ = 0, 1, 2, 3
"""Kinds of line: the model found nothing; look at this one; the model has no class that means "nothing", and says one;
there is no answer, because ..."""

LAYOUT = """
CREATE TABLE worklist (
    place INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    look INTEGER NOT NULL,
    label TEXT,
    created TEXT,
    day TEXT,
    draw REAL
);
CREATE INDEX worklist_by_look ON worklist (look, place) WHERE look > 0;
CREATE INDEX worklist_by_day ON worklist (day, place);
CREATE INDEX worklist_drawn ON worklist (place) WHERE draw < 0.05;
CREATE INDEX worklist_bare ON worklist (place) WHERE created IS NULL;
CREATE TABLE identifiers (
    digest BLOB NOT NULL,
    place INTEGER NOT NULL,
    PRIMARY KEY (digest, place)
) WITHOUT ROWID;
CREATE INDEX identifiers_by_place ON identifiers (place);
"""
"""``place``: order of arrival of the content, which a later bundle that reads it anew does not change; ``sequence``: of
the item whose result is the newest. ``digest``: of a patient ID or an accession number (`decode.search`). Each index
costs a page of every commit of the scanner: most images have nothing found, and are in few of them."""

FILL = """
INSERT INTO worklist (place, sequence, look)
    SELECT first, last, CASE status WHEN 'done' THEN 2 ELSE 3 END
    FROM (SELECT min(sequence) AS first, max(sequence) AS last FROM items
          WHERE status IN ('done', 'refused', 'quarantined') GROUP BY sha256) JOIN items ON sequence = last;
"""
"""Bare rows of a ledger of before."""


class Line(NamedTuple):
    """What the result of one item adds to its row.

    Attributes
    ----------
    key : str
        Of the result.
    look : int
        See the kinds above.
    label : str, optional
        Where the model said one.
    created : str
        ISO 8601 UTC.
    day : str
        By the box's own time zone, ``YYYY-MM-DD``.
    draw : float
        See `answers.drawn`.
    identifiers : tuple of bytes
        Digests by which the image may be found.
    """

    key: str
    look: int
    label: str | None
    created: str
    day: str
    draw: float
    identifiers: tuple[bytes, ...] = ()


def line_of(result: Result, positive: str | None = None, identifiers: Iterable[bytes] = ()) -> Line:
    """The line of a result.

    Parameters
    ----------
    positive : str, optional
        The class whose presence is looked for, where the bundle names one.
    """
    said = result.prediction
    look = NOT_READ if said is None else kind_of(said.label, said.threshold, positive)
    return Line(
        result.key, look, None if said is None else said.label, result.created, local_day(result.created),
        drawn(result.source.sha256, result.runtime.bundle), tuple(identifiers),
    )  # fmt: skip


def kind_of(label: str, threshold: Iterable[str], positive: str | None = None) -> int:
    """Whether a label is something to look at.

    Parameters
    ----------
    label : str
        Several findings joined by ``|``, ``""`` for none.
    threshold : iterable of str
        Classes that have a threshold: those whose presence is looked for. Empty where the most probable class wins.
    """
    classes = set(threshold) or ({positive} if positive is not None else set())
    if not label:
        return NOTHING_FOUND
    if not classes:
        return SAID
    return LOOK if classes & set(label.split("|")) else NOTHING_FOUND


def local_day(created: str) -> str:
    """The day of a moment (ISO 8601 UTC) by the box's time zone; its own first ten characters where it is none."""
    try:
        moment = timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ"))
    except ValueError:
        return created[:10]
    return time.strftime("%Y-%m-%d", time.localtime(moment))
