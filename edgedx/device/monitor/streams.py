"""What is watched of one image: a few figures, and no value that names anybody."""

from __future__ import annotations

import calendar
import hashlib
import hmac
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgedx.core.bundle.streams import judged, probability_stream
from edgedx.core.image import EXPOSURE, MACHINE, WINDOW_WIDTH
from edgedx.core.image_statistics import fingerprint, image_figures
from edgedx.core.preprocess import Canvas
from edgedx.core.result import Result
from edgedx.core.stats.points import label_at

_AGES = (5, 18, 40, 65)
ABSENT = "-"
"""Category of what the header does not say."""
LONGEST_CATEGORY = 32


@dataclass(frozen=True)
class Observation:
    """One result as `store.Watched` keeps it.

    Attributes
    ----------
    key : str
        Of the result; counted once.
    when : int
        Seconds since 1970, by the wall clock.
    trusted : bool
        Whether that clock can be right (see `core.result.Result.clock_trusted`).
    called : tuple of str
        Classes decided for; empty where there is no answer.
    unlike : bool or None
        Whether it is unlike the training images; None where nobody asked.
    refused : str or None
        Reason code, of what has no answer.
    probabilities : dict of str to float
        Of every class; empty where there is no answer.
    thresholds : dict of str to float
        In force.
    """

    key: str
    when: int
    trusted: bool
    called: tuple[str, ...] = ()
    unlike: bool | None = None
    refused: str | None = None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    categories: Mapping[str, str] = field(default_factory=dict)
    mark: bytes | None = None


def observe(
    result: Result,
    canvas: Canvas | None,
    facts: Mapping[str, str],
    *,
    task: str,
    positive: str | None,
    salt: bytes,
    own: Mapping[str, float] | None = None,
) -> Observation:
    """What of one reading is watched.

    Parameters
    ----------
    canvas : ndarray, optional
        None where it could not be read, or the model was not asked.
    facts : mapping
        Of the header.
    salt : bytes
        Of this output folder: the machine's hash can be told from no other folder's.
    own : mapping of str to float, optional
        Thresholds of the bundle's first point, at which its reference was counted: ``called`` is at these, so that a
        threshold that the site has chosen is no change of its patients. Those of the result unless given.
    """
    numbers: dict[str, float] = {}
    categories: dict[str, str] = {}
    called: tuple[str, ...] = ()
    chances: dict[str, float] = {}
    thresholds: dict[str, float] = {}
    if result.prediction is not None:
        chances, thresholds = result.prediction.probabilities, result.prediction.threshold
        label = result.prediction.label
        if own is not None and own != thresholds:
            label = label_at(task, list(chances), positive, own, list(chances.values()))
        called = tuple(name for name in label.split("|") if name in chances)
        numbers |= {probability_stream(one): chances[one] for one in judged(task, list(chances), positive)}
    if (unlike := result.unlikeness) is not None:
        numbers["energy"] = unlike.energy
        if unlike.distance is not None:
            numbers["distance"] = unlike.distance
    if canvas is not None:
        numbers |= image_figures(canvas)
        categories = _of_header(result, facts, salt)
        numbers |= {
            name: value
            for name, key in (("exposure", EXPOSURE), ("window", WINDOW_WIDTH))
            if (value := _number(facts.get(key))) is not None
        }
    return Observation(
        key=result.key,
        when=calendar.timegm(time.strptime(result.created, "%Y-%m-%dT%H:%M:%SZ")),
        trusted=result.clock_trusted,
        called=called,
        unlike=None if unlike is None else unlike.out_of_distribution,
        refused=result.reason.code if result.reason is not None else None,
        probabilities=chances,
        thresholds=thresholds,
        numbers={name: value for name, value in numbers.items() if math.isfinite(value)},
        categories=categories,
        mark=None if canvas is None else fingerprint(canvas),
    )


def _of_header(result: Result, facts: Mapping[str, str], salt: bytes) -> dict[str, str]:
    machine, rows, columns = facts.get(MACHINE, ""), facts.get("Rows", ""), facts.get("Columns", "")
    age = _number(facts.get("PatientAgeYears"))
    found = {
        "device": hmac.new(salt, machine.encode(), hashlib.sha256).hexdigest()[:12] if machine else "",
        "rows": f"{rows} x {columns}" if rows and columns else "",
        "age_band": "" if age is None else _age_band(age),
        "sex": facts.get("PatientSex", ""),
        "view": facts.get("ViewPosition", ""),
        "format": result.source.format or "",
    }
    return {name: value[:LONGEST_CATEGORY] or ABSENT for name, value in found.items()}


def _age_band(years: float) -> str:
    for low, high in zip((0, *_AGES), _AGES, strict=False):
        if years < high:
            return f"{low}-{high - 1}"
    return f"{_AGES[-1]}+"


def _number(text: str | None) -> float | None:
    """The decoder has read hostile input: what it says is not trusted to be a number."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None
