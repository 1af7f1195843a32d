"""Who an image is of: from the table, the file's name or its DICOM header; and spellings that may be one person."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from edgedx.core.errors import DataError
from edgedx.core.settings.recipe_sections import Data

from .header import header_texts
from .rows import Row

_ZEROS_BEFORE = re.compile(r"(?<!\d)0+(?=\d)")
_FRACTION = re.compile(r"(?<=\d)[.,]0+$")
_SHOWN = 3


def patient_key(patient: str) -> str:
    """A patient's identifier without what tables lose or add: zeros, case, blanks, a trailing ``.0``.

    ``0007``, ``7`` and ``7.0`` have one key, and so have ``P 07`` and ``p7``: spreadsheets take identifiers for
    numbers, and pandas takes whole numbers with a gap among them for floats.
    """
    text = unicodedata.normalize("NFKC", patient)
    text = "".join(sign for sign in text if not sign.isspace() and unicodedata.category(sign) != "Cf").casefold()
    return _ZEROS_BEFORE.sub("", _FRACTION.sub("", text))


def spellings(patients: Iterable[str]) -> list[tuple[str, ...]]:
    """Identifiers that share a key and are not the same: each group in order of appearance."""
    found: dict[str, list[str]] = defaultdict(list)
    for patient in dict.fromkeys(patients):
        if patient:
            found[patient_key(patient)].append(patient)
    return [tuple(group) for group in found.values() if len(group) > 1]


def one_spelling(patients: Sequence[str]) -> list[str]:
    """The same identifiers, each in the spelling that came first."""
    first: dict[str, str] = {}
    return [first.setdefault(patient_key(patient), patient) if patient else "" for patient in patients]


def settle_patients(root: Path, rows: list[Row], data: Data) -> tuple[list[Row], list[str]]:
    """Fill in patients where ``data.patient_from`` says how, and treat spellings as ``data.patient_ids`` says.

    Returns
    -------
    rows, warnings
        Spellings are merged unless the recipe says otherwise: of two people taken for one nothing leaks.

    Raises
    ------
    DataError
        Patients differ in spelling only, and the recipe refuses that.
    """
    rows = [_with_patient(root, row, data) for row in rows]
    groups = spellings(row.patient for row in rows)
    if not groups or data.patient_ids == "distinct":
        return rows, []
    sentence = f"{spelling_sentence(groups)}, for example those of {_example(rows, groups[0])}"
    if data.patient_ids == "refuse":
        raise DataError(
            f"{sentence}: is each of them one patient?",
            next_step="correct the table, or --set data.patient_ids=merge (one patient each; safe for the split) "
            "or distinct (others indeed)",
        )
    merged = one_spelling([row.patient for row in rows])
    warning = f"{sentence}: taken for {len(groups)} patients (data.patient_ids: distinct, if they are others indeed)"
    return [replace(row, patient=patient) for row, patient in zip(rows, merged, strict=True)], [warning]


def spelling_sentence(groups: Sequence[tuple[str, ...]]) -> str:
    """How many identifiers differ in spelling only; none of them is repeated."""
    return f"{sum(map(len, groups))} patient identifiers differ only in zeros, case, blanks or a trailing .0"


def _example(rows: Sequence[Row], group: tuple[str, ...]) -> str:
    """Images of one patient under different spellings."""
    first = [next(row.name for row in rows if row.patient == patient) for patient in group[:_SHOWN]]
    return ", ".join(first)


def _with_patient(root: Path, row: Row, data: Data) -> Row:
    if row.patient or row.problem or data.patient_from is None:
        return row
    if data.patient_from == "header":
        return replace(row, patient=header_patient(root / row.name))
    match = re.search(data.patient_from, row.name)
    return replace(row, patient=(match[1] or "").strip() if match else "")


def header_patient(path: Path) -> str:
    """Hash of a DICOM file's Patient ID (0010,0020), issuer included; empty where it has none, or is no such file.

    A hash, so that no identifier of a header gets into a manifest; it is the same for the same patient.
    """
    keys = [patient_key(text) for text in header_texts(path, ("PatientID", "IssuerOfPatientID")).values()]
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:16] if keys and keys[0] else ""
