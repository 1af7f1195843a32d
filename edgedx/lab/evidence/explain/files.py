"""What `edgedx explain` writes: figures as JSON and tables, and the plain words of both.

``explain.json`` (Interval is ``{value, low, high}``, a 95 % bootstrap over patients):

- ``schema_version``, ``written``, ``edgedx``, ``machine``, ``versions``, ``seconds``, ``seed``, ``synthetic``,
  ``not_for_diagnosis``, ``sentences`` (plain words, most important first), ``notes``;
- ``data``: ``where``, ``images``, ``patients``, ``left_out`` (reason to count); ``classes``, ``explained`` (a class, or
  "decision of NAME"), ``reference`` (the first model's name);
- ``methods``: name to ``title``, ``package``, ``how``;
- ``models``: ``name``, ``ran``, ``places`` ([h, w] of the last feature map, or null), ``not_available`` (method to
  reason);
- ``fidelity``: ``model``, ``method``, ``spearman``, ``shared``, ``iou`` (Intervals, against the reference's map of the
  same image), ``above_other_image`` (Interval or null: rank correlation above that of ``other_image``, paired; where it
  is not above 0, nothing is shown), and ``baselines``: ``chance`` (numbers), ``other_image`` (the reference's map of
  another image of the same class) and ``random_weights`` (the reference without what it learned), Intervals or null;
- ``curves``: ``model``, ``method`` (``random`` is the control), ``deletion``, ``insertion`` (Intervals, areas),
  ``deletion_gain``, ``insertion_gain`` (Intervals, paired, above 0 is better than the control; null for the control),
  ``deletion_curve``, ``insertion_curve`` (means, at ``fractions``);
- ``border``: ``each_side``, ``area`` (of the ring), ``maps``: ``model``, ``method``, ``share`` (Interval) of the map's
  positive weight on the ring; maps of 2 x 2 places cannot tell and are left out;
- ``regions``: null, or ``where``, ``images``, ``skipped`` (reason to count), ``area``, ``tolerance_pixels``, ``maps``:
  ``model``, ``method``, ``pointing`` and ``energy``: null or Intervals ``value``, ``area`` (chance), ``other`` (maps of
  another image), ``above_area`` and ``above_other`` (paired, above 0 is better);
- ``sanity``: ``model``, ``method``, ``stages`` (``random``, ``spearman``, ``shared``, ``iou``, ``ssim``), ``passes``,
  ``sentence``;
- ``pictures``: ``file``, ``kind`` (fidelity, curves, sanity, image), ``caption``.

Beside it ``explain.csv``, a row for each image, model and method, and ``images.csv``, which alone names the images.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgedx._version import __version__
from edgedx.core.files import write_json, write_text
from edgedx.core.heatmap import is_coarse
from edgedx.core.stats.metrics import Interval
from edgedx.core.table import csv_text, number_cell, plain_cell
from edgedx.lab.run.stage import machine, versions

from .curves import FRACTIONS
from .explain import CONTROL, MOST_CURVES, MOST_SANITY, Explanation, Key
from .fidelity import CHANCE
from .methods import METHODS
from .pictures import draw, is_empty
from .pointing_files import (
    CELLS,
    border_sentences,
    border_to_dict,
    cells,
    region_notes,
    region_sentences,
    regions_to_dict,
)
from .sanity import LIMIT

REPORT, TABLE, NAMES = "explain.json", "explain.csv", "images.csv"
_COARSE = 4
"""Places a side up to which the reader is warned."""


def to_dict(explanation: Explanation, pictures: Sequence[dict[str, str]]) -> dict[str, Any]:
    """As JSON; images are counted, never named."""
    first, images = explanation.names[0], explanation.images
    return {
        "schema_version": 1,
        "sentences": sentences(explanation),
        "not_for_diagnosis": True,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "edgedx": __version__,
        "machine": machine(),
        "versions": {**versions(), **_library_versions()},
        "seconds": round(explanation.seconds, 1),
        "seed": explanation.seed,
        "synthetic": any(subject.synthetic for subject in explanation.subjects),
        "data": {
            "where": images.where,
            "images": len(images),
            "patients": len(set(images.patients)),
            "left_out": dict(Counter(reason for _, reason in images.left_out).most_common()),
        },
        "classes": explanation.subjects[0].classes,
        "explained": explanation.wanted or f"decision of {first}",
        "reference": first,
        "methods": {name: vars(METHODS[name]) for name in explanation.methods},
        "models": [
            {
                "name": name,
                "ran": subject.ran,
                "places": None if places is None else list(places),
                "not_available": {key[1]: why for key, why in explanation.missing.items() if key[0] == name},
            }
            for name, subject, places in zip(explanation.names, explanation.subjects, explanation.places, strict=True)
        ],
        "fidelity": [_fidelity(explanation, key) for key in explanation.alike],
        "fractions": FRACTIONS.tolist(),
        "curve_images": min(len(images), MOST_CURVES),
        "curves": [_curves(explanation, key) for key in explanation.curves],
        "border": border_to_dict(explanation),
        "regions": regions_to_dict(explanation),
        "sanity_images": min(len(images), MOST_SANITY) if explanation.sanity else 0,
        "sanity": [one.to_dict() for one in explanation.sanity],
        "notes": notes(explanation),
        "pictures": list(pictures),
    }


def _dicts(intervals: dict[str, Interval]) -> dict[str, Any]:
    return {name: value.to_dict() for name, value in intervals.items()}


def _fidelity(explanation: Explanation, key: Key) -> dict[str, Any]:
    others, blind, above = (
        explanation.others.get(key[1]),
        explanation.random_weights(key[1]),
        explanation.above_others(key),
    )
    return {
        "model": key[0],
        "method": key[1],
        **_dicts(explanation.means(explanation.alike[key])),
        "above_other_image": None if above is None else above.to_dict(),
        "baselines": {
            "chance": CHANCE,
            "other_image": None if others is None else _dicts(explanation.means(others)),
            "random_weights": None if blind is None else _dicts(blind),
        },
    }


def _curves(explanation: Explanation, key: Key) -> dict[str, Any]:
    one = explanation.curves[key]
    better = _dicts(explanation.gains(key)) if key[1] != CONTROL else {"deletion_gain": None, "insertion_gain": None}
    return {
        "model": key[0],
        "method": key[1],
        **_dicts(explanation.means(one.areas())),
        **better,
        "deletion_curve": [round(float(value), 5) for value in one.deletion.mean(axis=0)],
        "insertion_curve": [round(float(value), 5) for value in one.insertion.mean(axis=0)],
    }


def sentences(explanation: Explanation) -> list[str]:
    """What a reader should take home: methods with the same outcome in one sentence."""
    return [
        *region_sentences(explanation),
        *border_sentences(explanation),
        *_likeness(explanation),
        *_sanity(explanation),
    ]


def _likeness(explanation: Explanation) -> list[str]:
    first, outcomes = explanation.names[0], dict[tuple[str, str], list[str]]()
    for name, method in explanation.alike:
        mean, above = explanation.means(explanation.alike[name, method]), explanation.above_others((name, method))
        outcome = "unknown" if above is None or np.isnan(above.low) else "alike" if above.low > 0 else "not shown"
        text = f"{METHODS[method].title} ({mean['spearman']}, {mean['shared'].value:.0%})"
        outcomes.setdefault((name, outcome), []).append(text)
    figures = f"rank correlation, and share of the top {CHANCE['shared']:.0%} of places in common"
    words = {
        "alike": "{name} looks where {first} does, more than {first} does on another image of the class: {which}",
        "not shown": "That {name} looks where {first} does is not shown, no more than on another image: {which}",
        "unknown": "One image cannot tell how alike maps of {name} and {first} are anyway: {which}",
    }
    texts = [words[outcome].format(name=name, first=first, which=", ".join(which))
             for (name, outcome), which in outcomes.items()]  # fmt: skip
    return [f"{texts[0]} ({figures})", *texts[1:]] if texts else []


def _sanity(explanation: Explanation) -> list[str]:
    texts = []
    for passes, words in (
        (True, f"Depend on what was learned (rank correlation below {LIMIT} when all weights are random)"),
        (False, "Show the image and not the model (they stay alike when all weights are random)"),
    ):
        which = [f"{METHODS[one.method].title} of {one.model} ({one.stages[-1][1]['spearman']})"
                 for one in explanation.sanity if one.passes is passes]  # fmt: skip
        if which:
            texts.append(f"{words}: {', '.join(which)}")
    return texts


def notes(explanation: Explanation) -> list[str]:
    """What to know before reading the figures."""
    texts = ["A heat map shows where an answer comes from, not whether it is right or why."]
    texts += region_notes(explanation)
    coarse = {name: places for (name, _), places in explanation.grids.items() if max(places) <= _COARSE}
    for places in sorted(set(coarse.values())):
        *names, last = (name for name in coarse if coarse[name] == places)
        which = f"{', '.join(names)} and {last}" if names else last
        drawn = ", and are drawn as these squares" if is_coarse(places) else ""
        texts.append(
            f"The last feature map of {which} has {places[0]} x {places[1]} places: CAM, Grad-CAM and Grad-CAM++ can "
            f"point no finer than that{drawn}; larger input images would give more places"
        )
    reasons: dict[tuple[str, str], list[str]] = {}
    for (name, method), why in explanation.missing.items():
        reasons.setdefault((name, why), []).append(METHODS[method].title)
    texts += [f"{name}, {', '.join(methods)}: n/a, {why}" for (name, why), methods in reasons.items()]
    empty = {key: sum(is_empty(one) for one in maps) for key, maps in explanation.maps.items()}
    if told := [f"{count} of {name}, {METHODS[method].title}" for (name, method), count in empty.items() if count]:
        texts.append(f"Empty maps of {len(explanation.images)}, where nothing speaks for the class: {'; '.join(told)}")
    if any(subject.columns for subject in explanation.subjects):
        texts.append("what models get beside the image (columns) counted as absent: maps are of the image alone")
    graphs = [name for name, places in zip(explanation.names, explanation.places, strict=True) if places is None]
    if graphs:
        texts.append(f"{', '.join(graphs)}: no check by random weights, the graph's are fixed")
    return texts


def _library_versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    explanation = {}
    for name in ("captum", "grad-cam", "scikit-image"):
        try:
            explanation[name] = version(name)
        except PackageNotFoundError:  # its methods were not asked for
            continue
    return explanation


def write_explanation(explanation: Explanation, folder: Path, *, pictures: int = 8) -> list[Path]:
    """Write pictures, tables and, last, ``explain.json``; return their paths."""
    drawn = draw(explanation, folder, pictures)
    write_text(folder / NAMES, _names_csv(explanation))
    write_text(folder / TABLE, _rows_csv(explanation))
    write_json(folder / REPORT, to_dict(explanation, drawn))
    return [folder / name for name in (REPORT, TABLE, NAMES, *(one["file"] for one in drawn))]


def _names_csv(explanation: Explanation) -> str:
    images, classes = explanation.images, explanation.subjects[0].classes
    rows = [
        [position + 1, plain_cell(images.names[position]), images.truths[position],
         classes[explanation.classes[position]],
         *(number_cell(one[position, explanation.classes[position]]) for one in explanation.probabilities)]
        for position in range(len(images))
    ]  # fmt: skip
    return csv_text(
        ["number", "image", "truth", "explained", *(f"probability {name}" for name in explanation.names)], rows
    )


def _rows_csv(explanation: Explanation) -> str:
    rows = []
    for key in explanation.maps:
        text = explanation.alike.get(key, {})
        areas = explanation.curves[key].areas()
        for position in range(len(explanation.images)):
            figures = [text[name][position] if name in text else np.nan for name in CHANCE]
            figures += [areas[name][position] if position < len(areas[name]) else np.nan for name in areas]
            figures += cells(explanation, key, position)
            rows.append([position + 1, *key, *map(number_cell, figures)])
    return csv_text(["number", "model", "method", *CHANCE, "deletion", "insertion", *CELLS], rows)
