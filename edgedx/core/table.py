"""CSV for humans: text that a spreadsheet shows as it is."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence


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
