"""What a section of a report consists of; the page and its Markdown twin are two forms of the same sections."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edgedx.core.stats.metrics import Interval

Cell = Interval | str


@dataclass(frozen=True)
class Table:
    """Rows under a header; the first column names the row."""

    header: list[str]
    rows: list[list[Cell]]
    title: str = ""
    note: str = ""


@dataclass(frozen=True)
class Headline:
    """The verdict of a section: one sentence, for somebody who reads nothing else of it."""

    text: str
    tone: Literal["good", "bad", "plain"] = "plain"


@dataclass(frozen=True)
class Folded:
    """What only a few readers want: behind a line that opens on a click."""

    summary: str
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Picture:
    """An image inside an address, so that nothing is fetched."""

    address: str
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class ReportSection:
    """One section, in the order in which it is shown.

    Attributes
    ----------
    key : str
        Stable name: pictures are drawn by it, and links lead to it.
    items : list of str
        Short lines below the tables.
    parts : list of (str, list of str)
        Headings with items.
    """

    key: str
    title: str
    headline: Headline | None = None
    texts: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    items: list[str] = field(default_factory=list)
    parts: list[tuple[str, list[str]]] = field(default_factory=list)
    folded: list[Folded] = field(default_factory=list)


@dataclass(frozen=True)
class Evidence:
    """What another command found about the run.

    Attributes
    ----------
    report : dict
        Its JSON, for the JSON twin.
    pictures, patients : list of (Path, str)
        PNG and caption; those of patients only where they are asked for.
    """

    section: ReportSection
    report: dict[str, Any]
    pictures: list[tuple[Path, str]] = field(default_factory=list)
    patients: list[tuple[Path, str]] = field(default_factory=list)
