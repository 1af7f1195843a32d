"""What `edgedx monitor` found at a clinic, as a section of the run's report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.core.stats.metrics import Interval
from edgedx.device.monitor.examine import NOTES
from edgedx.device.monitor.light import Light, prevalence_sentence

from .section import Cell, Evidence, Folded, Headline, ReportSection, Table


def monitored(report: dict[str, Any], folder: Path) -> Evidence:
    """Light, prevalence, accuracy there, and every stream."""
    light, window = Light(**report["light"]), report["window"]
    texts = [f"{window['images']} images, {window['from']} to {window['to']}; {_compared(report['reference'])}."]
    texts += [prevalence_sentence("en", name, told) for name, told in report["prevalence"].items()]
    texts += [NOTES.get(note, note) for note in report["notes"]]
    tables = [table for table in (_accuracy(report),) if table.rows]
    streams = [
        [one["stream"], one["against"], f"{one['effect']:.3f}", f"{one['floor']:.3f}", f"{one['p_holm']:.2g}",
         "ALARM" if one["alarm"] else "known" if one["known"] else ""]
        for one in report["streams"]
    ]  # fmt: skip
    charts = [
        [f"{one['stream']}, {one['direction']}", f"{one['usual']:.3f}", f"{one['now']:.3f}",
         f"{one['level']:.1f} of {one['limit']:.1f}", "ALARM" if one["alarm"] else ""]
        for one in report["charts"]
    ]  # fmt: skip
    explained = [
        "Change: the greatest distance of two distributions, 0 to 1, or Cramer's V. Noise: what it stays below in 99 % "
        "of samples of the same sizes without a change. An alarm is shown (p after Holm), beyond the noise, and large."
    ]
    details = [Table(["stream", "against", "change", "noise", "p (Holm)", ""], [list[Cell](row) for row in streams])]
    if charts:
        details.append(Table(["share over days", "usual", "now", "evidence", ""], [list[Cell](row) for row in charts]))
    section = ReportSection(
        "monitor",
        "At the clinic",
        headline=Headline(f"{light.colour.capitalize()}: {' '.join(light.sentences())}",
                          "good" if light.colour == "green" else "bad" if light.alarm else "plain"),
        texts=texts,
        tables=tables,
        folded=[Folded("Every stream that is watched", explained, details)] if streams else [],
    )  # fmt: skip
    return Evidence(section, report)


def _compared(reference: dict[str, Any]) -> str:
    made = reference["bundle"]
    site = reference["site"]
    told = "with nothing of the model's own" if made is None else f"with {made['images']} images of the model's own"
    return f"compared {told}" + ("" if site is None else f" and the site's own {site['images']} until {site['until']}")


def _accuracy(report: dict[str, Any]) -> Table:
    rows: list[list[Cell]] = []
    for title, by_class in (("readers, blind", report["blind"]), ("expected, no labels", report["expected"] or {})):
        for name, told in by_class.items():
            rows.append([f"{name}: {title}", _interval(told["sensitivity"]), _interval(told["specificity"])])
    return Table(["", "Sensitivity", "Specificity"], rows, "How good the answers are there")


def _interval(told: dict[str, Any]) -> Interval:
    value = told["value"]
    return Interval(float("nan") if value is None else value, told["low"], told["high"])
