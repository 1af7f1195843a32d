"""Tables for people and programs: CSV read whole and written, cells that a spreadsheet shows as they are, Markdown."""

from __future__ import annotations

import codecs
import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from .errors import DataError
from .files import storage_error

DELIMITERS = (",", ";", "\t", "|")
DAMAGED = "\N{REPLACEMENT CHARACTER}"
"""Stands for a NUL, which no table holds unless its disk was damaged: a path with it names no file."""
_LINES_TO_JUDGE = 50
_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_table(
    path: Path, *, encoding: str | None = None, names: Sequence[str] = ()
) -> tuple[list[dict[str, str]], list[str]]:
    """Rows and column names of a CSV or TSV file.

    Parameters
    ----------
    encoding : str, optional
        Unless given, UTF-8, or what a byte order mark says (UTF-8, UTF-16), or UTF-16 where every other byte is 0.
    names : sequence of str
        Names of the columns of a table without a header row.

    Returns
    -------
    rows : list of dict
        Cells as they are; the key None holds those beyond the last column, as `csv.DictReader` has it.
    columns : list of str
        Without blanks around them.

    Raises
    ------
    DataError
        It is no such file, or a column stands twice with different content.
    InputOutputError
        It cannot be read.
    """
    text = read_text(path, encoding)
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter_of(text)) if line]
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}", next_step="save it as CSV in UTF-8") from error
    columns = list(names) if names else [cell.strip() for cell in (lines.pop(0) if lines else [])]
    _refuse_repeated(path, columns, lines)
    return [_row(columns, line) for line in lines], list(dict.fromkeys(columns))


def read_text(path: Path, encoding: str | None = None) -> str:
    """Text of a table, see `read_table`; each NUL becomes `DAMAGED`.

    Raises
    ------
    DataError
        It is in another encoding.
    InputOutputError
        It cannot be read.
    """
    try:
        content = path.read_bytes()
        return content.decode(encoding or encoding_of(content)).replace("\x00", DAMAGED)
    except OSError as error:
        raise storage_error(path, error) from error
    except (UnicodeDecodeError, LookupError) as error:
        raise DataError(
            f"{path} is not a table in {encoding or 'UTF-8'}: {error}",
            next_step="save it as CSV in UTF-8, or name its encoding in a recipe (data.encoding: cp1252)",
        ) from error


def encoding_of(content: bytes) -> str:
    """UTF-8 unless a byte order mark or zeros in every other byte say otherwise."""
    marked = next((name for mark, name in _MARKS if content.startswith(mark)), "")
    if marked:
        return marked
    head = content[:400]
    for name, zeros, letters in (("utf-16-le", head[1::2], head[::2]), ("utf-16-be", head[::2], head[1::2])):
        if len(head) > 3 and zeros.count(0) > 0.9 * len(zeros) and letters.count(0) < 0.1 * len(letters):
            return name
    return "utf-8"


def delimiter_of(text: str) -> str:
    """The delimiter that divides the first lines into the most columns; a comma where none does."""
    sample = text[: 1 << 16].splitlines()[:_LINES_TO_JUDGE]

    def columns(delimiter: str) -> tuple[int, int]:
        try:
            widths = [len(line) for line in csv.reader(sample, delimiter=delimiter) if line]
        except csv.Error:
            return 0, 0
        return (min(widths), widths[0]) if widths else (0, 0)

    return max(DELIMITERS, key=columns)  # of equals the first


def _refuse_repeated(path: Path, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> None:
    for name, count in Counter(columns).items():
        if count == 1 or not name:  # spreadsheets leave columns without a name
            continue
        places = [place for place, one in enumerate(columns) if one == name]
        for number, line in enumerate(lines, start=2):
            if len({line[place].strip() for place in places if place < len(line)}) > 1:
                raise DataError(
                    f"{path}, line {number}: column {name!r} stands {count} times, with different content",
                    next_step="rename or remove all of them but one",
                )


def _row(columns: Sequence[str], line: Sequence[str]) -> dict[str, Any]:
    row: dict[Any, Any] = {}
    for name, cell in zip(columns, line, strict=False):
        row.setdefault(name, cell)
    for name in columns[len(line) :]:
        row.setdefault(name, None)
    if len(line) > len(columns):
        row[None] = list(line[len(columns) :])
    return row


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
