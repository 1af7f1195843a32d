"""Which columns of a table name the image, its class and its patient: judged by the files that are there."""

from __future__ import annotations

import codecs
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edgedx.core.errors import DataError
from edgedx.core.table import delimiter_of, encoding_of, read_table, read_text
from edgedx.lab.data.reading.rows import split_named

TABLE_SUFFIXES = {".csv", ".tsv", ".txt"}
_SAMPLE = 500
_LEAST_RESOLVED = 0.5
_MOST_CLASSES = 30
_LABEL = ("label", "class", "diagnosis", "target", "finding", "findings", "dx", "category", "pathology", "outcome", "y")
_PATIENT = re.compile(
    r"(?i)^(patient|subject|person|case|participant|mrn|pid|lesion|group|study)[ _-]?(id|nr|no|number|name)?$"
)
_SUBGROUP = re.compile(
    r"(?i)^(sex|gender|age|view|view ?position|site|hospital|scanner|device|manufacturer|model|laterality)$"
)
_SPLIT = re.compile(r"(?i)^(split|set|subset|partition|official_split|fold_name)$")
_FINDING = {"", "0", "1", "-1", "0.0", "1.0", "-1.0", "0,0", "1,0", "-1,0"}
_NUMBERED = "column {}"


@dataclass(frozen=True)
class FoundTable:
    """A table and what its columns are, as far as that can be judged.

    Attributes
    ----------
    resolved : float
        Share of sampled rows whose image file is there.
    prefix, pattern : str
        For ``data.image_prefix`` and ``data.image_format``.
    findings : list of str
        Columns of 0, 1 and -1, where no column names the class.
    """

    path: Path
    encoding: str | None
    delimiter: str
    header: bool
    columns: list[str]
    rows: list[dict[str, str]] = field(repr=False)
    image: str
    prefix: str
    pattern: str
    resolved: float
    label: str | None = None
    findings: list[str] = field(default_factory=list)
    patient: str | None = None
    split: str | None = None
    subgroups: list[str] = field(default_factory=list)

    def values(self, column: str) -> list[str]:
        """Cells of a column, without blanks around them."""
        return [(row.get(column) or "").strip() for row in self.rows]


class Files:
    """Files below a folder, by whole path, by name and by name without suffix."""

    def __init__(self, paths: Iterable[PurePosixPath]) -> None:
        self.by_name: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in paths:
            self.by_name[path.name].append(path)
            if path.suffix:
                self.by_name[path.stem].append(path)

    def way(self, cell: str) -> tuple[str, str] | None:
        """Prefix to take away from `cell`, and the format that makes the rest a path; None where no file fits."""
        text = cell.replace("\\", "/")
        name = text.rstrip("/").rpartition("/")[2]
        candidates = self.by_name.get(name, [])
        if not name or not candidates:
            return None
        parts = text.split("/")
        best = max(candidates, key=lambda path: _common_end(path, parts))
        common = max(1, _common_end(best, parts))
        prefix = text[: len(text) - len("/".join(parts[-common:]))]
        before = "/".join(best.parts[: len(best.parts) - common])
        behind = best.suffix if best.name != name else ""
        return prefix, (f"{before}/" if before else "") + "{}" + behind


def _common_end(path: PurePosixPath, parts: Sequence[str]) -> int:
    """How many names `path` and `parts` share from the end; the last may lack its suffix."""
    count = 0
    for name, other in zip(reversed(path.parts), reversed(parts), strict=False):
        if name != other and not (count == 0 and path.stem == other):
            break
        count += 1
    return count


def find_table(path: Path, files: Files) -> FoundTable | None:
    """What a table says about `files`; None where no column names enough of them."""
    content = path.read_bytes()
    encoding = None
    try:
        text = content.decode(encoding_of(content))
    except UnicodeDecodeError:
        encoding = "cp1252"
    try:
        text = read_text(path, encoding)
        rows, columns = read_table(path, encoding=encoding)
    except DataError:
        return None
    if not rows or not columns:
        return None
    found = _image_column(rows, columns, files)
    header = files.way(found[0]) is None if found else True
    if not header:  # the first line is a row like the others
        columns = [_NUMBERED.format(number) for number in range(1, len(columns) + 1)]
        rows, columns = read_table(path, encoding=encoding, names=columns)
        found = _image_column(rows, columns, files)
    if found is None:
        return None
    image, prefix, pattern, share = found
    shown = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else encoding
    table = FoundTable(path, encoding if shown != "utf-16" else None, delimiter_of(text), header, columns, rows, image,
                       prefix, pattern, share)  # fmt: skip
    return _with_meaning(table)


def _image_column(
    rows: Sequence[dict[str, str]], columns: Sequence[str], files: Files
) -> tuple[str, str, str, float] | None:
    sample = rows[:: max(1, len(rows) // _SAMPLE)][:_SAMPLE]
    best: tuple[str, str, str, float] | None = None
    for column in columns:
        ways = [files.way((row.get(column) or "").strip()) for row in sample]
        counted = Counter(way for way in ways if way is not None)
        if not counted:
            continue
        (prefix, pattern), count = counted.most_common(1)[0]
        share = count / len(sample)
        if share >= _LEAST_RESOLVED and (best is None or share > best[3]):
            best = column, prefix, pattern, share
    return best


def _with_meaning(table: FoundTable) -> FoundTable:
    from dataclasses import replace

    left = [column for column in table.columns if column and column != table.image]
    kinds = {column: Counter(value for value in table.values(column) if value) for column in left}
    split = next((one for one in left if _SPLIT.match(one) and kinds[one] and all(map(split_named, kinds[one]))), None)
    patient = next((one for one in left if _PATIENT.match(one) and len(kinds[one]) > 1), None)
    left = [column for column in left if column not in (split, patient)]
    subgroups = [column for column in left if _SUBGROUP.match(column)]
    possible = [
        one for one in left if one not in subgroups and 2 <= len(kinds[one]) <= min(_MOST_CLASSES, len(table.rows) // 2)
    ]
    label = next((one for name in _LABEL for one in possible if one.strip().casefold() == name), None)
    findings = [one for one in left if kinds[one] and set(kinds[one]) <= _FINDING and one not in subgroups]
    if label is None and len(findings) >= 2:
        return replace(table, findings=findings, patient=patient, split=split, subgroups=subgroups)
    label = label or next((one for name in _LABEL[:-1] for one in possible if name in one.casefold()), None)
    return replace(table, label=label or next(iter(possible), None), patient=patient, split=split, subgroups=subgroups)
