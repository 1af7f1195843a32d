"""A report's section about an update: what changed, what it cost and won, and the page for change control."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.core.files import read_json
from edgedx.core.stats.metrics import Interval
from edgedx.lab.run.updated import VERDICT

from .section import Cell, Evidence, Folded, Headline, ReportSection, Table

_METHODS = {
    "rehearsal": "old and new images together",
    "distil": "new images alone, held to the answers of the model before",
    "naive": "new images alone",
    "ewc": "new images alone, held to the weights of the model before",
}


def interval(one: dict[str, float | None] | None) -> Interval:
    """A figure from JSON; NaN where it is null."""
    nan = float("nan")
    values = [nan if one is None or one[key] is None else float(one[key] or 0) for key in ("value", "low", "high")]
    return Interval(*values)


def update_evidence(report: dict[str, Any], folder: Path) -> Evidence:
    """The section of a run that updates another one; `report` is its ``update.json``."""
    verdicts = {path.parent.parent.name: read_json(path) for path in sorted(folder.glob(f"devices/*/update/{VERDICT}"))}
    of = report["of"]
    section = ReportSection(
        "update",
        f"Update of version {of['version']} to {report['version']}",
        headline=_headline(verdicts),
        texts=[
            f"Learned by {report['method']}: {_METHODS[report['method']]}.",
            "Judged on images that no model learned from, against the deployed model; intervals are paired.",
        ],
        tables=[table for profile, one in verdicts.items() for table in _tables(profile, one)],
        items=[f"{profile}: {one['sentence']}" for profile, one in verdicts.items()]
        + [
            f"{profile}: SHIPPED AGAINST THE VERDICT: {one['forced']}"
            for profile, one in verdicts.items()
            if one["forced"]
        ],
        parts=[*_changes(report), *change_control(report, verdicts)],
        folded=[_subgroups(profile, one) for profile, one in verdicts.items() if one["fairness"]["subgroups"]],
    )
    return Evidence(section, {**report, "verdicts": verdicts})


def _headline(verdicts: dict[str, Any]) -> Headline:
    if not verdicts:
        return Headline("The update was not judged yet: it may not replace the deployed model.", "bad")
    failed = [profile for profile, one in verdicts.items() if not one["passed"]]
    if failed:
        return Headline(f"The update did NOT pass for {', '.join(failed)}.", "bad")
    lost, won = (max(float(one[key]["value"]) for one in verdicts.values()) for key in ("forgetting", "gain"))
    verb = f"loses {lost:.3f}" if lost > 0 else f"gains {-lost:.3f}"
    return Headline(f"The update passed: it gains {won:.3f} AUC on the new images and {verb} on the old ones.", "good")


def _tables(profile: str, verdict: dict[str, Any]) -> list[Table]:
    rows: list[list[Cell]] = []
    for name, part in verdict["parts"].items():
        auc = part["figures"]["auc"] if part["figures"] else None
        rows.append([f"{name} ({part['images']})", *_figures(auc)])
    for one in verdict["sites"]:
        figures = _figures(one["auc"]) if one["auc"] else ["-", "-", one["why"]]
        rows.append([f"{one['site']} ({one['images']})", *figures])
    header = ["images", f"AUC of {verdict['against']}", "AUC, updated", "lost"]
    tables = [Table(header, rows, f"Against the deployed model, {profile}")]
    gaps = verdict["fairness"]["largest_gaps"]
    if gaps:
        cells: list[list[Cell]] = [
            [
                one["figure"].replace("auc_roc", "AUC"),
                f"{one['before']:.3f}",
                f"{one['after']:.3f}",
                interval(one["growth"]),
                f"{one['column']} {one['worst']}",
            ]
            for one in gaps
        ]
        tables.append(
            Table(["figure", "before", "after", "grew by", "worst"], cells, "Largest gap between two subgroups")
        )
    return tables


def _figures(auc: dict[str, Any] | None) -> list[Cell]:
    if auc is None:
        return ["-", "-", "not judged"]
    return [interval(auc["teacher"]), interval(auc["student"]), interval(auc["drop"])]


def _subgroups(profile: str, verdict: dict[str, Any]) -> Folded:
    rows: list[list[Cell]] = []
    for one in verdict["fairness"]["subgroups"]:
        both = [interval(one[role][kind]) for kind in ("auc_roc", "sensitivity") for role in ("before", "after")]
        rows.append([f"{one['column']} {one['value']} ({one['images']})", *both])
    header = ["subgroup (images)", "AUC before", "AUC after", "sensitivity before", "sensitivity after"]
    missing = [f"Not judged: {one['subgroup']} ({one['why']})" for one in verdict["fairness"]["not_judged"]]
    return Folded(f"Each subgroup before and after, {profile}", missing, [Table(header, rows)])


def _changes(report: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        (f"Version {one['version']}" + (f", {one['date']}" if one["date"] else ""), list(one["items"]))
        for one in reversed(report["changes"])
    ]


def change_control(report: dict[str, Any], verdicts: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """The page for change control, in the three parts that a predetermined change control plan has.

    FDA, "Marketing Submission Recommendations for a Predetermined Change Control Plan for Artificial
    Intelligence-Enabled Device Software Functions" (guidance, December 2024); Regulation (EU) 2024/1689 (AI Act),
    Article 43(4): changes that the provider has determined beforehand and documented are no substantial modification.
    """
    settings, limits = report["settings"], report["limits"]
    files = report.get("feedback", [])
    signers = sorted({str(one["signed_by"]) for one in files if one["signed_by"]})
    labels, splits = report.get("labels", {}), report.get("splits", {})
    budget = limits["max_auc_drop"]
    sensitivity = limits["max_sensitivity_drop"]
    described = [
        "What may change: weights, temperature and thresholds of the same network, by learning from answered images of "
        f"clinics ({report['method']}). Task, classes, input size, accepted images and intended use stay as they are: "
        "edgedx refuses an update that touches them.",
        "What may not change by itself: nothing is learned, installed or sent without a person's command.",
    ]
    protocol = [
        f"Data: {labels.get('used', '-')} answered images of {len({one['site'] for one in files})} clinic(s)"
        + (f", signed by {', '.join(signers)}" if signers else ", not signed")
        + f"; {labels.get('contradictions', 0)} contradictions left out or listed; likely wrong labels listed for "
        "a second look. "
        f"Divided by patient: {splits.get('train', '-')} learned from, {splits.get('val', '-')} chose thresholds, "
        f"{splits.get('test', '-')} only judged.",
        f"Learning: {settings['epochs']:g} epochs from the teacher of version {report['of']['version']}, then the same "
        "compression as before.",
        f"Acceptance: against the deployed model, on old and on new images, a loss of AUC of at most {budget:g} "
        f"(rule {limits['rule']}, 95 % confidence)"
        + ("" if sensitivity is None else f", of sensitivity of at most {sensitivity:g}")
        + f"; no clinic and no subgroup proven worse by more; the largest gap between subgroups widens by at most "
        f"{settings['max_gap_widening']:g}.",
        "Roll-out: a signed bundle of a higher version; the device proves it on golden samples, keeps the version "
        "before, and goes back by itself or by `edgedx rollback`.",
        "Afterwards: `edgedx monitor` on the device.",
    ]
    impact = [f"{profile}: {one['sentence']}" for profile, one in verdicts.items()] or ["Not judged yet."]
    impact += [f"{profile}: shipped against the verdict, because: {one['forced']}" for profile, one in verdicts.items()
               if one["forced"]]  # fmt: skip
    impact.append(
        "Risks that no figure here shows: labels given after the model's answer was seen lean towards it "
        f"({labels.get('agreed_after_seeing', 0)} of these labels); judged images are of the clinics above alone."
    )
    law = [
        "This page helps to write a predetermined change control plan (FDA guidance of December 2024, section 515C of "
        "the FD&C Act) or the part of the technical documentation that Article 43(4) and Annex IV, 2(f) of the EU AI "
        "Act mean. It is no such plan: edgedx is not a medical device, and whoever makes one of it answers for it.",
    ]
    return [
        ("Change control: description of the modification", described),
        ("Change control: modification protocol", protocol),
        ("Change control: impact assessment", impact),
        ("Change control: what this page is", law),
    ]
