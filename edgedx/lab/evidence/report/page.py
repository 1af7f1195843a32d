"""A report as one HTML file: no script, nothing from outside, none can be fetched; for screen and paper."""

from __future__ import annotations

import base64
import io
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from edgedx.core.stats.metrics import Interval
from edgedx.lab.judge.curve_plots import calibration_figure, confusion_figure, pr_figure, roc_figure, subgroup_figure
from edgedx.lab.run.plots import history_figure

from . import words
from .collect import RunFacts
from .content import card_of, sections_of, trained
from .glossary import used
from .section import Evidence, Picture, ReportSection

_FITS = 5
"""Columns that fit a phone; wider tables scroll by themselves."""


def page(
    facts: RunFacts,
    shots: Sequence[tuple[bytes, str]] = (),
    evidence: Sequence[Evidence] = (),
    *,
    images: bool = False,
) -> str:
    """The HTML text.

    Parameters
    ----------
    shots : sequence of (PNG, caption)
        Pictures of patients; left out unless somebody asked for them.
    evidence : sequence of Evidence
        What other commands found.
    images : bool
        Put their pictures of patients into the page.
    """
    values = {
        "fits": _FITS,
        "recipe": facts.recipe,
        "written": facts.made["written"],
        "not_a_device": words.NOT_A_DEVICE,
        "sections": in_order(facts, evidence),
        "plots": _plots(facts),
        "broad": {one.section.key: _pictures(one, images) for one in evidence},
        "shots": [Picture(_address("png", png), "an image decided wrongly", caption) for png, caption in shots],
        "card": card_of(facts),
    }
    template = _environment().get_template("report.html")
    # The page explains the terms that it uses, so it is written twice.
    plain = re.sub(r"<style>.*?</style>|<[^>]*>", " ", template.render(**values, glossary=[]), flags=re.DOTALL)
    return template.render(**values, glossary=used(plain))


def in_order(facts: RunFacts, evidence: Sequence[Evidence]) -> list[ReportSection]:
    """The report's own sections, with those of other commands before training and data."""
    sections = sections_of(facts)
    end = next(index for index, one in enumerate(sections) if one.key in ("training", "data"))
    return [*sections[:end], *(one.section for one in evidence), *sections[end:]]


def _environment() -> Environment:
    """Templates whose values are text: nothing from outside can become markup."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).with_name("templates")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["interval"] = lambda value: isinstance(value, Interval)
    environment.tests["unknown"] = lambda value: math.isnan(value.value)
    environment.tests["bounded"] = lambda value: not math.isnan(value.low)
    environment.filters["breakable"] = lambda text: Markup("_<wbr>").join(str(text).split("_"))
    return environment


def _pictures(one: Evidence, images: bool) -> list[Picture]:
    """Pictures of patients carry their caption themselves."""
    shown = [(path, text, text) for path, text in one.pictures]
    shown += [(path, text, "") for path, text in one.patients if images]
    return [
        Picture(_address("png", path.read_bytes()), text, caption) for path, text, caption in shown if path.is_file()
    ]


def _plots(facts: RunFacts) -> dict[str, list[Picture]]:
    """Pictures drawn from the report's own figures, by the section that they belong to."""
    return {
        "curves": _curves(facts),
        "decisions": [
            _plot(confusion_figure(one.figures.confusion, one.name), f"decisions of {one.name}")
            for one in words.shown(facts)
        ],
        "subgroups": _subgroups(facts),
        "training": [
            _plot(history_figure(one.facts["history"], one.name), f"learning curve of {one.name}")
            for one in trained(facts)
        ],
    }


def _subgroups(facts: RunFacts) -> list[Picture]:
    teacher = next(one for one in facts.models if one.name == "teacher")
    shown = {one.name: one.parts.subgroups for one in (teacher, facts.shipped) if one.parts.subgroups}
    kinds = (("auc_roc", "AUC"), ("sensitivity", "sensitivity")) if shown else ()
    return [_plot(subgroup_figure(shown, kind), f"{word} by subgroup") for kind, word in kinds]


def _curves(facts: RunFacts) -> list[Picture]:
    many = len(facts.cases.findings()) > 1
    models = {one.name: one.answers for one in ([facts.shipped] if many else words.shown(facts))}
    names = [facts.cases.classes[index] for index, _, _ in facts.cases.findings()]
    judged = [one for one in facts.models if one.name in models]
    areas = {
        kind: [one.figures.classes[name][kind] for one in judged for name in names] for kind in ("auc_roc", "auc_pr")
    }
    of = f", {facts.shipped.name}" if many else ""
    return [
        _plot(roc_figure(facts.cases, models, areas["auc_roc"]), f"ROC{of}"),
        _plot(pr_figure(facts.cases, models, areas["auc_pr"]), f"Precision and recall{of}"),
        _plot(calibration_figure(facts.cases, models), f"Calibration{of}"),
    ]


def _plot(figure: Any, alt: str) -> Picture:
    return Picture(svg_address(figure), alt)


def _address(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def svg_address(figure: Any) -> str:
    """A figure as SVG inside an address: sharp at any size, its identifiers apart from all others, nothing to fetch."""
    import matplotlib

    stream = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": "edgedx", "svg.fonttype": "path"}):
        figure.savefig(stream, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = re.sub(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", stream.getvalue(), flags=re.DOTALL)
    return _address("svg+xml", text.strip().encode())
