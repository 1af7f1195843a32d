"""Whether an image is what the model was made for: facts of its header and its pixels in, a reason or nothing out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgedx.core.codes import Code
from edgedx.core.image import FORMAT, WINDOW_UNREADABLE, Image
from edgedx.core.preprocess import PreprocessSpec, saturated_share
from edgedx.core.result import HeaderChecks, Reason
from edgedx.core.settings.accept import UNREADABLE_FIELDS, Accept, HeaderField

SATURATED = "SaturatedShare"
"""The one fact that is of the pixels and not of the header."""
WINDOW_USED = "WindowUsed"
"""Fact: the model's preprocessing uses the header's window; only where that cannot be read."""

_FACTS: dict[HeaderField, str] = {
    "modality": "Modality",
    "body_part": "BodyPartExamined",
    "view": "ViewPosition",
    "laterality": "Laterality",
    "age": "PatientAgeYears",
}
# Defined Terms of (0008,0060), PS3.3 C.7.3.1.1.1, that a clinic sees; only these are repeated in a message.
_MODALITIES = frozenset(
    ("BMD", "CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT")
    + ("PX", "RF", "RG", "SC", "SM", "TG", "US", "XA", "XC")
)


def facts_of(image: Image, spec: PreprocessSpec) -> dict[str, str]:
    """What `acceptable` looks at: the header's fields, how much the window saturates, and whether a window is lost."""
    facts = {**image.meta, SATURATED: f"{saturated_share(image, spec):.4f}"}
    if WINDOW_UNREADABLE in image.meta and spec.window == "voi":
        facts[WINDOW_USED] = "yes"
    return facts


def header_checks(accept: Accept, facts: Mapping[str, str]) -> HeaderChecks | None:
    """What of the recipe's rules could not be checked, and what of the header could not be read; None where all was.

    Parameters
    ----------
    accept, facts
        As for `acceptable`.
    """
    unreadable = sorted(_unreadable(facts))
    rules: list[HeaderField] = [name for name in _FACTS if _has_rule(accept, name)]
    not_checked = [name for name in rules if not facts.get(_FACTS[name]) and name not in unreadable]
    window = facts.get(WINDOW_UNREADABLE)
    if not (not_checked or unreadable or window):
        return None
    raster = FORMAT in facts
    return HeaderChecks(not_checked=not_checked, unreadable=unreadable, window=window, no_header=raster)


def acceptable(accept: Accept, facts: Mapping[str, str], height: int, width: int) -> Reason | None:
    """Why an image is not what the model was made for, or None.

    No message repeats a value of the header: its free text may hold anything, a name too, and an age is the patient's.

    Parameters
    ----------
    accept : Accept
        Of the bundle.
    facts : mapping of str
        See `facts_of`. What is absent passes, unless `accept.required` names it: a raster file has no header, and the
        folder's owner chose it. What is there and cannot be understood is refused where there is a rule for it.
    height, width : int
        Of the source, pixels.
    """
    if accept.raster == "refuse" and FORMAT in facts:
        return _reason(Code.RASTER, "a raster file carries no header, and the model's recipe takes DICOM alone")
    modality = facts.get("Modality", "")
    shown = modality if modality in _MODALITIES else "another modality"
    reason = (
        _listed(accept, "modality", accept.modality, facts, Code.MODALITY, shown)
        or _listed(accept, "body_part", accept.body_part, facts, Code.BODY_PART)
        or _listed(accept, "view", accept.view, facts, Code.VIEW)
        or _listed(accept, "laterality", accept.laterality, facts, Code.LATERALITY)
        or _age(accept, facts)
    )
    if reason is not None:
        return reason
    if facts.get(WINDOW_USED) == "yes":
        return _reason(Code.WINDOW, "the header's window cannot be read, and the model uses it")
    if not accept.for_processing and facts.get("PresentationIntentType") == "FOR PROCESSING":
        return _reason(Code.FOR_PROCESSING, "raw detector values; the model reads images that are for presentation")
    if min(height, width) < accept.min_side:
        return _reason(Code.TOO_SMALL, f"{height} x {width} pixels; the least side is {accept.min_side}")
    share = _number(facts.get(SATURATED))
    if share is not None and share > accept.max_saturated:
        return _reason(
            Code.SATURATED, f"{share:.0%} of the pixels are black or white; at most {accept.max_saturated:.0%} may be"
        )
    return None


def _has_rule(accept: Accept, name: HeaderField) -> bool:
    rule = accept.age_years if name == "age" else getattr(accept, name)
    return bool(rule) or name in accept.required


def _unreadable(facts: Mapping[str, str]) -> set[HeaderField]:
    names = facts.get(UNREADABLE_FIELDS, "").split(",")
    return {name for name in _FACTS if name in names}


def _listed(
    accept: Accept, name: HeaderField, accepted: Sequence[str], facts: Mapping[str, str], code: Code, shown: str = ""
) -> Reason | None:
    what, value = name.replace("_", " "), facts.get(_FACTS[name], "")
    if name in _unreadable(facts) and _has_rule(accept, name):
        return _reason(code, f"the header's {what} cannot be read, and the model needs it")
    if not value and name in accept.required:
        return _reason(code, f"the header names no {what}, and the model needs it")
    if not accepted or not value or value in accepted:
        return None
    return _reason(code, f"the model reads {what} {', '.join(accepted)}; this is {shown or 'another'}")


def _age(accept: Accept, facts: Mapping[str, str]) -> Reason | None:
    if "age" in _unreadable(facts) and _has_rule(accept, "age"):
        return _reason(Code.AGE, "the header's age cannot be read, and the model needs it")
    years = _number(facts.get(_FACTS["age"]))
    if years is None:
        missing = "age" in accept.required
        return _reason(Code.AGE, "the header gives no age, and the model needs it") if missing else None
    if accept.age_years is None or accept.age_years[0] <= int(years) <= accept.age_years[1]:
        return None
    return _reason(Code.AGE, f"the model is for patients of {accept.age_years[0]} to {accept.age_years[1]} years")


def _number(text: str | None) -> float | None:
    """The decoder has read hostile input: what it says is not trusted to be a number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _reason(code: Code, message: str) -> Reason:
    return Reason(code=code.value, message=message)
