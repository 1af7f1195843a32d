"""What ``edgedx threshold`` prints, for people who treat patients."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, remark, synthetic_note

if TYPE_CHECKING:
    from edgedx.core.bundle.local_point import LocalPoint
    from edgedx.core.bundle.manifest import Bundle
    from edgedx.core.stats.metrics import Interval
    from edgedx.core.stats.points import OperatingPoint
    from edgedx.device.operation.set_threshold import Prepared
    from edgedx.device.threshold.cutoffs import Cutoff
    from edgedx.device.threshold.evidence import Evidence
    from edgedx.device.threshold.given import Given
    from edgedx.device.threshold.propose import Proposal, Target
    from edgedx.device.threshold.table import Part, ThresholdTable

_SHARES = (
    *(("sensitivity, %", "sensitivity"), ("specificity, %", "specificity")),
    *(("PPV, %", "ppv"), ("NPV, %", "npv"), ("called positive, %", "called")),
)
_AMOUNTS = (("cost of an image", "cost_per_image"), ("cost of a case found", "cost_per_case"))
_SOURCES = {
    "images": "labelled images",
    "results": "labelled results",
    "answers": "answers given after the model's was seen: BIASED",
    "blind answers": "blind answers",
}
_RESTART = "restart the scanner: it keeps the threshold that it began with"


def table(found: ThresholdTable, model: Path, given: Given, csv: Path | None, *, synthetic: bool, json: bool) -> None:
    """Some rows of each part, and how many patients would show what."""
    if json:
        print_json(found.to_dict())
        return
    for part in found.parts:
        _part(found, part)
    enough = [f"{target:g} needs {count}" for target, count in found.least.items()]
    line(
        "patients", f"{found.patients_with_it} with {found.finding} here; to show a sensitivity of {', '.join(enough)}"
    )
    _remarks(found.remarks)
    synthetic_note(synthetic)
    if csv is not None:
        line("written", f"{csv}: every threshold")
    line("next", command_line("threshold", "propose", model, *given.options(), "--sensitivity", "0.95"))


def _part(found: ThresholdTable, part: Part) -> None:
    who = part.name or "all images"
    share = part.positives / part.images if part.images else 0.0
    patients = f" of {part.patients} patients" if part.patients < part.images else ""
    title = f"{who}: {part.images} images{patients}, {part.positives} with {found.finding} ({share:.0%})"
    if part.few:
        line("", f"{title}: too few to judge ({part.few})")
        return
    rows = found.short(part)
    costs = bool(rows) and rows[0][0].cost_per_image is not None
    given = bool(rows) and abs(rows[0][0].prevalence - share) > 1e-9
    headings = ["threshold", "found", "missed", "false alarms", "sensitivity %", "specificity %", "PPV %", "NPV %"]
    headings += ["cost/image", "cost/case found"] if costs else []
    shown = [[_number(row.threshold), row.true_positives, row.missed, row.false_positives, _percent(row.sensitivity),
              _percent(row.specificity), _percent(row.ppv), _percent(row.npv), *(_costs(row) if costs else []), mark]
             for row, mark in rows]  # fmt: skip
    if given:
        title += f"; PPV, NPV and costs as if {rows[0][0].prevalence:.1%} had it"
    print_table([*headings, ""], shown, right=True, width=150, title=title)


def _costs(row: Cutoff) -> list[str]:
    return [_amount(row.cost_per_image), _amount(row.cost_per_case)]


def proposed(found: Proposal, evidence: Evidence, model: Path, given: Given, *, synthetic: bool, json: bool) -> None:
    """The threshold, what it means, and how to set it."""
    if json:
        print_json(
            {
                "schema_version": 1,
                "finding": found.finding,
                "rule": found.target.rule,
                "threshold": found.threshold,
                "confirm": repr(found.threshold),
                "at_it": found.cutoff.to_dict(),
                "now": None if found.before is None else found.before.to_dict(),
                "threshold_moves": None if found.moves is None else found.moves.to_dict(),
                "source": evidence.source,
                "evidence": evidence.digest,
                "remarks": list(evidence.remarks),
            }
        )
        return
    _what_it_means(found)
    _remarks(evidence.remarks)
    synthetic_note(synthetic)
    words = [*given.options(), "--class", found.finding, *_target_words(found.target)]
    line("next", command_line("threshold", "set", model, *words))


def _target_words(target: Target) -> list[object]:
    costs = target.costs
    words: list[object] = []
    if target.kind == "sensitivity":
        words = ["--sensitivity", f"{target.value:g}"]
    elif target.kind == "positives":
        words = ["--positives-per-day", f"{target.per_day[0]:g}", "--images-per-day", f"{target.per_day[1]:g}"]
    elif target.kind == "cost":
        words = ["--cheapest"]
    for name in ("image", "test", "miss"):
        if value := getattr(costs, name):
            words += [f"--cost-{name}", f"{value:g}"]
    return [*words, *(["--prevalence", f"{target.prevalence:g}"] if target.prevalence is not None else [])]


def prepared(ready: Prepared) -> None:
    """What is about to be set."""
    manifest = ready.bundle.manifest
    line("model", f"{manifest.name} {manifest.version}, bundle {ready.bundle.digest[:12]}")
    _what_it_means(ready.judged.proposal)
    for check in ready.judged.checks:
        line("gate", f"passed: {check.sentence}")
    _remarks(ready.judged.remarks)
    synthetic_note(manifest.synthetic)


def confirmed(ready: Prepared) -> str | None:
    """Ask twice: whether, and for the threshold itself, typed. None where the answer is no."""
    manifest = ready.bundle.manifest
    asked = f"From now on, {manifest.name} decides at {ready.value} on this device. Is this meant?"
    if not typer.confirm(asked, err=True):
        return None
    return str(typer.prompt("Type the threshold to confirm", err=True))


def now_in_force(point: LocalPoint, ready: Prepared, *, json: bool) -> None:
    """What is in force, and what is to be done."""
    found = ready.judged.proposal
    if json:
        print_json({"schema_version": 1, "finding": found.finding, "threshold": found.threshold,
                    **point.model_dump(mode="json")})  # fmt: skip
        return
    line("set", f"{found.finding} is called at {ready.value} and above, for {point.model} on this device")
    line("recorded", ready.root / "audit.jsonl")
    line("next", _RESTART)


def in_force(bundle: Bundle, point: OperatingPoint, local: LocalPoint | None, *, json: bool) -> None:
    """Thresholds in force, and who chose them."""
    from edgedx.core.stats.patients import images_of_patients

    manifest = bundle.manifest
    if json:
        print_json(
            {
                "schema_version": 1,
                "model": f"{manifest.name} {manifest.version}",
                "bundle": bundle.digest,
                "operating_point": point.name,
                "origin": "bundle" if local is None else "local",
                "threshold": point.threshold,
                "local": None if local is None else local.model_dump(mode="json"),
            }
        )
        return
    line("model", f"{manifest.name} {manifest.version}, bundle {bundle.digest[:12]}")
    if not point.threshold:
        line("decides", "for the most probable class: there is no threshold")
    chosen = {} if local is None else local.thresholds
    for name, value in point.threshold.items():
        whose = "chosen at this site" if name in chosen else f"the bundle's own, {manifest.operating_points[0].name}"
        line("threshold", f"{name}: {value!r} and above, {whose}")
        if (entry := chosen.get(name)) is not None:
            line("", f"asked for: {entry.words}; by {entry.by}, {entry.at}")
            line("", f"on {images_of_patients(entry.images, entry.patients)}, {entry.positives} with {name} "
                     f"({_SOURCES[entry.source]}): sensitivity {_percent(entry.sensitivity)}, "
                     f"specificity {_percent(entry.specificity)}")  # fmt: skip
            if entry.carried_from is not None:
                line("", f"carried over from bundle {entry.carried_from[:12]}, and judged anew")


def cleared(before: LocalPoint | None, root: Path, *, json: bool) -> None:
    """That it is gone."""
    if json:
        print_json({"schema_version": 1, "cleared": None if before is None else before.model_dump(mode="json")})
        return
    line("cleared", "the threshold that the model was delivered with is in force")
    line("recorded", root / "audit.jsonl")
    line("next", _RESTART)


def _what_it_means(found: Proposal) -> None:
    from edgedx.device.threshold.judge import meaning

    cutoff = found.cutoff
    line("asked for", found.target.words)
    line("threshold", f"{found.finding} is called at {found.threshold!r} and above")
    line("means", meaning(cutoff, found.finding))
    if found.before is not None:
        line("now", f"{_number(found.before.threshold)}: {meaning(found.before, found.finding)}")
    rows = [_compared(name, _percent, key, found) for name, key in _SHARES]
    if cutoff.cost_per_image is not None:
        rows += [_compared(name, _amount, key, found) for name, key in _AMOUNTS]
    print_table(("95 % interval", "at it", "now"), rows, right=True)
    if found.moves is not None:
        line("moves", f"on other samples of as many patients the choice lies between {found.moves.low:.3g} and "
                      f"{found.moves.high:.3g}")  # fmt: skip


def _compared(name: str, shown: Callable[[Any], str], key: str, found: Proposal) -> tuple[str, str, str]:
    return name, shown(getattr(found.cutoff, key)), "-" if found.before is None else shown(getattr(found.before, key))


def _remarks(remarks: Any) -> None:
    for one in remarks:
        remark(f"note: {one}")


def _percent(value: Interval | Any) -> str:
    if value.value != value.value:
        return "-"
    return f"{100 * value.value:.1f} [{100 * value.low:.1f}, {100 * value.high:.1f}]"


def _amount(value: Interval | None) -> str:
    if value is None or value.value != value.value or value.value == float("inf"):
        return "-"
    return f"{value.value:.3g} [{value.low:.3g}, {value.high:.3g}]"


def _number(value: float) -> str:
    return f"{value:.4g}" if len(repr(value)) > 6 else repr(value)
