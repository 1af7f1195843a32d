"""CSV from humans and for them: a table read whole, and text that a spreadsheet shows as it is."""

from __future__ import annotations

import csv
import io
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


def plain_cell(text: str) -> str:
    """A name from outside, on one line, that no spreadsheet takes for a formula."""
    risky = text[:1] in {"=", "+", "-", "@"} or not text[:1].isprintable()
    text = "".join(sign if sign.isprintable() else "?" for sign in text)
    return f"'{text}" if risky else text
