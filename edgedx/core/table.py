"""Tables for people and programs: CSV read whole and written, cells that a spreadsheet shows as they are, Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path

from .errors import DataError
from .files import storage_error


def read_table(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Rows and column names of a CSV file in UTF-8, with or without a byte order mark.

    Raises
    ------
    DataError
        It is no such file.
    InputOutputError
        It cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            return list(reader), list(reader.fieldnames or [])
    except OSError as error:
        raise storage_error(path, error) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is not a CSV file in UTF-8: {error}", next_step="save it so") from error


def csv_text(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table as CSV, UTF-8, lines ended by a newline."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return stream.getvalue()


def null_for_nan(value: float) -> float | None:
    """For JSON, which has no word for what is not a finite number."""
    return float(value) if math.isfinite(value) else None


def number_cell(value: float) -> str:
    """A number in full, the shortest text that reads back as the same float64; empty where it is not finite.

    Rounded numbers tie, and figures computed from a table would not be those of the report beside it.
    """
    return repr(float(value)) if math.isfinite(value) else ""


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a Markdown table; names from outside make no markup."""
    lines = [[markdown_text(cell) for cell in row] for row in (header, *rows)]
    return [f"| {' | '.join(row)} |" for row in (lines[0], ["---"] * len(header), *lines[1:])]


def markdown_text(text: str) -> str:
    """Text from outside on one line, without markup."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def plain_cell(text: str) -> str:
    """A name from outside, on one line, that no spreadsheet takes for a formula."""
    risky = text[:1] in {"=", "+", "-", "@"} or not text[:1].isprintable()
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f"'{text}" if risky else text
