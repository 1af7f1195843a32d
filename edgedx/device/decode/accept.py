"""Whether an image is what the model was made for: facts of its header and its pixels in, a reason or nothing out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from edgedx.core.codes import Code
from edgedx.core.image import Image
from edgedx.core.preprocess import PreprocessSpec, saturated_share
from edgedx.core.result import Reason
from edgedx.core.settings.accept import Accept, HeaderField

SATURATED = "SaturatedShare"
"""The one fact that is of the pixels and not of the header."""

# Defined Terms of (0008,0060), PS3.3 C.7.3.1.1.1, that a clinic sees; only these are repeated in a message.
_MODALITIES = frozenset(
    ("BMD", "CR", "CT", "DX", "ECG", "ES", "GM", "IO", "IVOCT", "IVUS", "MG", "MR", "NM", "OCT", "OP", "OT", "PT")
    + ("PX", "RF", "RG", "SC", "SM", "TG", "US", "XA", "XC")
)


def facts_of(image: Image, spec: PreprocessSpec) -> dict[str, str]:
    """What `acceptable` asks of an image: its header's fields and how much of it the window saturates."""
    return {**image.meta, SATURATED: f"{saturated_share(image, spec):.4f}"}


def acceptable(accept: Accept, facts: Mapping[str, str], height: int, width: int) -> Reason | None:
    """Why an image is not what the model was made for, or None.

    No message repeats a value of the header: its free text may hold anything, a name too, and an age is the patient's.

    Parameters
    ----------
    accept : Accept
        Of the bundle.
    facts : mapping of str
        See `facts_of`. What is absent passes, unless `accept.required` names it: a raster file has no header, and the
        folder's owner chose it.
    height, width : int
        Of the source, pixels.
    """
    modality = facts.get("Modality", "")
    found = modality if modality in _MODALITIES else "another modality"
    reason = (
        _listed(accept, "modality", accept.modality, modality, Code.MODALITY, found)
        or _listed(accept, "body_part", accept.body_part, facts.get("BodyPartExamined", ""), Code.BODY_PART)
        or _listed(accept, "view", accept.view, facts.get("ViewPosition", ""), Code.VIEW)
        or _listed(accept, "laterality", accept.laterality, facts.get("Laterality", ""), Code.LATERALITY)
        or _age(accept, _number(facts.get("PatientAgeYears")))
    )
    if reason is not None:
        return reason
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


def _listed(
    accept: Accept, name: HeaderField, accepted: Sequence[str], value: str, code: Code, found: str = ""
) -> Reason | None:
    what = name.replace("_", " ")
    if not value and name in accept.required:
        return _reason(code, f"the header names no {what}, and the model needs it")
    if not accepted or not value or value in accepted:
        return None
    return _reason(code, f"the model reads {what} {', '.join(accepted)}; this is {found or 'another'}")


def _age(accept: Accept, years: float | None) -> Reason | None:
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
