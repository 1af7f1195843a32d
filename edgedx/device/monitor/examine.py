"""`edgedx monitor`: one look at what was watched, in well under a second. Nothing is written here."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from edgedx.core.bundle.reference import Reference
from edgedx.core.bundle.streams import HEADERS, judged
from edgedx.core.result import NOT_A_MEDICAL_DEVICE
from edgedx.core.stats.binomial import wilson
from edgedx.core.stats.drift import turning_point

from .accuracy import blind_reads, contradicted, prevalences, without_labels
from .compare import LEVEL, Finding, compare
from .daily import DailyChart, charts
from .light import Light
from .sample import LEAST, MOST, Sample, stream_values, window
from .store import WatchedModel, open_watched
from .usual import FIRST, Usual

SCHEMA_VERSION = 1
Kept = TypeVar("Kept", bound=BaseModel)
_FOREIGN = 0.5
"""Effect of a change of pictures that leaves little of what the model learned from."""
_UNLIKE = 0.2
"""Share of unlike images above which answers cannot be relied on."""
_PICTURES = ("mean", "contrast", "clipped", "sharpness", "distance", "energy")
_DAYS = 400


def examine(out: Path) -> dict[str, Any]:
    """Compare the last images of an output folder with the bundle's and the site's own reference.

    Returns
    -------
    dict
        JSON: ``light``, ``window``, ``streams`` (each with effect, noise floor and p), ``charts``, ``prevalence``,
        ``expected`` (accuracy without labels; null with the reason in ``notes`` where it must not be told), ``blind``
        (from readers), ``reference``, ``notes``. docs/monitor.md explains every field.

    Raises
    ------
    InputOutputError
        Nothing was watched there.
    StorageError
        The database cannot be read.
    """
    begun = time.perf_counter()
    watched = open_watched(out)
    try:
        model = watched.model()
        images = [] if model is None else watched.images(model.number, last=MOST)
        days = [] if model is None else list(watched.days(model.number, last=_DAYS))
    finally:
        watched.close()
    report = examined(out, model, window(images), days)
    return {**report, "seconds": round(time.perf_counter() - begun, 3)}


def examined(
    out: Path | None, model: WatchedModel | None, sample: Sample, days: Sequence[tuple[int, Mapping[str, int]]]
) -> dict[str, Any]:
    """The same of what was read from the database; `out` is where answers of readers lie."""
    reference = None if model is None else _parsed(Reference, model.reference)
    usual = None if model is None else _parsed(Usual, model.usual)
    known = json.loads(model.known) if model is not None and model.known else {}
    report: dict[str, Any] = {
        "schema_version": SCHEMA_VERSION,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "disclaimer": NOT_A_MEDICAL_DEVICE,
        "model": model and {"name": model.about["name"], "bundle": model.bundle, "variant": model.variant},
        "window": _window_facts(sample),
        "reference": {
            "bundle": None if reference is None else {"images": reference.images},
            "site": None if usual is None else {"images": usual.images, "until": _day(usual.until)},
            "site_images_needed": 0 if usual is not None else max(0, FIRST - len(sample)),
        },
        "level": LEVEL,
        "streams": [], "charts": [], "prevalence": {}, "expected": None, "blind": {}, "notes": [],
    }  # fmt: skip
    if model is None or len(sample) < LEAST:
        values = {"count": len(sample), "needed": LEAST - len(sample)}
        return {**report, "light": Light("grey", "few", values).to_dict(), "notes": _notes(reference, sample)}
    asked = {key: model.about[key] for key in ("task", "classes", "positive")}
    after = usual if usual is not None and sample.images[0].sequence > usual.last else None
    findings = compare(sample, reference, after, known)
    daily = [] if sample.clock_jumped else charts(days, reference, usual, **asked)
    blind = {} if out is None else blind_reads(out, model.bundle, judged(**asked))
    shares = {} if reference is None else prevalences(sample, reference, **asked)
    worse = [] if reference is None else contradicted(blind, reference, sample)
    shown = _light(sample, findings, daily, worse, reference, usual)
    notes = _notes(reference, sample)
    if reference is not None and not shown.alarm:
        report["expected"] = without_labels(sample, reference, shares, task=asked["task"], classes=asked["classes"])
        notes += [] if report["expected"] else ["EXPECTED_NOT_CALIBRATED"]
    elif shown.alarm:
        notes.append("EXPECTED_ALARM")
    return {
        **report,
        "light": shown.to_dict(),
        "streams": [one.to_dict() for one in findings],
        "charts": [one.to_dict() | {"since": None if one.since is None else _day(one.since)} for one in daily],
        "prevalence": shares,
        "blind": blind,
        "notes": notes,
    }


def _parsed(kind: type[Kept], text: str | None) -> Kept | None:
    """What was kept; None where there is nothing, or another version of edgedx kept it."""
    try:
        return None if text is None else kind.model_validate_json(text)
    except ValidationError:
        return None


def _light(
    sample: Sample,
    findings: Sequence[Finding],
    daily: Sequence[DailyChart],
    worse: Sequence[str],
    reference: Reference | None,
    usual: Usual | None,
) -> Light:
    """The gravest thing first; of what is alike, the most conspicuous."""
    hits, asked = sample.unlike
    base = 0.0 if usual is None or not usual.unlike[1] else usual.unlike[0] / usual.unlike[1]
    values: dict[str, Any] = {"count": len(sample)}
    if worse:
        return Light("red", "readers", {**values, "names": ", ".join(worse)})
    if asked and hits / asked >= _UNLIKE + base and wilson(hits / asked, asked).low > _UNLIKE / 2 + base:
        return Light("red", "unlike", {**values, "share": round(100 * hits / asked), **_since(sample, "unlike")})
    alarms = [one for one in findings if one.alarm]
    strange = [one for one in alarms if one.stream in _PICTURES and one.shift.effect >= _FOREIGN and not one.known]
    if strange:
        return Light("red", "foreign", {**values, **_since(sample, strange[0].stream)})
    for code, streams in (
        ("repeats", ("repeats",)),
        ("header", HEADERS),
        ("pictures", (*_PICTURES, "unlike")),
        ("refusals", ("refusals",)),
    ):
        if of_these := [one for one in alarms if one.stream in streams]:
            told: dict[str, Any] = {"share": round(100 * of_these[0].shift.effect)} if code == "repeats" else {}
            if code == "refusals":
                told = {"share": round(100 * (1 - sample.outcomes["answered"] / len(sample)))}
            return Light("yellow", code, {**values, **told, **_since(sample, of_these[0].stream)})
    charted = next((one for one in daily if one.alarm), None)
    if charted is not None and charted.stream in ("refused", "unlike"):
        told = {"share": round(100 * charted.now), "since": _day(charted.since or 0)}
        return Light("yellow", "refusals" if charted.stream == "refused" else "pictures", {**values, **told})
    if charted is not None:
        return Light("yellow", "answers", {**values, "since": _day(charted.since or 0)})
    if alarms:
        return Light("yellow", "answers", {**values, **_since(sample, alarms[0].stream)})
    if sample.clock_jumped:
        return Light("grey", "clock", values)
    if reference is None:
        return Light("grey", "reference", values)
    return Light("green", "usual", values)


def _since(sample: Sample, stream: str) -> dict[str, Any]:
    """The day on which a stream changed, where the window shows one and the clock can be believed."""
    series = stream_values(sample, stream)
    place = None if sample.clock_jumped else turning_point([value for _, value in series])
    return {} if place is None else {"since": _day(series[place][0] // 86400)}


def _notes(reference: Reference | None, sample: Sample) -> list[str]:
    notes = [] if reference is not None else ["NO_REFERENCE"]
    return notes + (["CLOCK_JUMPED"] if sample.clock_jumped else [])


NOTES = {
    "NO_REFERENCE": "the bundle has no reference that this edgedx reads: another version deployed it. Deploy the "
    f"run again and install it; until then images are compared with this site's own first {FIRST} alone, and no "
    "prevalence is told",
    "CLOCK_JUMPED": "the clock jumped or cannot be right: windows go by number of images, and charts over days are "
    "left out, until as many images have come with a right clock. Set the clock",
    "EXPECTED_ALARM": "accuracy without labels is not told while an alarm stands: it would be wrong, and not look it",
    "EXPECTED_NOT_CALIBRATED": "accuracy without labels is not told: no threshold, too few answers, or probabilities "
    "that were not well calibrated where the model was made",
}
"""By code: sentences for the engineer."""


def _window_facts(sample: Sample) -> dict[str, Any]:
    if not len(sample):
        return {"images": 0, "from": None, "to": None, "outcomes": {}, "clock_jumped": False}
    first, last = sample.images[0], sample.images[-1]
    return {
        "images": len(sample),
        "from": _day(first.time // 86400),
        "to": _day(last.time // 86400),
        "outcomes": dict(sample.outcomes),
        "called": dict(sample.called),
        "clock_jumped": sample.clock_jumped,
    }


def _day(day: int) -> str:
    return datetime.fromtimestamp(day * 86400, timezone.utc).strftime("%Y-%m-%d")
