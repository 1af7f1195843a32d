"""What ``edgedx answers`` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, remark

if TYPE_CHECKING:
    from edgedx.core.stats.metrics import Interval
    from edgedx.device.clinic.agreement import OfBundle
    from edgedx.device.clinic.answers_export import AnswersManifest


def agreed(found: Sequence[OfBundle], *, json: bool) -> None:
    """Counts by bundle, agreement, and what blind answers say."""
    if json:
        print_json({"schema_version": 1, "bundles": [one.to_dict() for one in found]})
        return
    for one in found:
        line("bundle", one.bundle[:12])
        said = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in one.verdicts.items())
        line("answers", f"{one.answers} of {one.people} people to {one.images} images: {said}")
        if one.contradicted:
            line("", f"{one.contradicted} images were answered differently by different people")
        line("seen", f"{_percent(one.seen_agreement)} agree after a look; people follow what they see: no figure of "
                     "the model")  # fmt: skip
        line("blind", f"{one.blind} answers, {_percent(one.blind_agreement)} agree")
        if one.classes:
            rows = [(each.name, each.with_it, each.without, _percent(each.sensitivity), _percent(each.specificity))
                    for each in one.classes]  # fmt: skip
            titles = ("from blind answers", "with it", "without", "sensitivity %", "specificity %")
            print_table(titles, rows, right=True, width=110)
    if not found:
        line("answers", "none yet")
    remark("note: an answer is one person's reading, not a proven diagnosis; intervals are 95 % (Wilson)")


def exported(manifest: AnswersManifest, to: Path, *, signed: bool, json: bool) -> None:
    """What is in the file; exits with 1 where images were left out."""
    left_out = {name[9:]: count for name, count in manifest.counts.items() if name.startswith("left_out_")}
    if json:
        print_json({"schema_version": 1, "file": str(to), "site": manifest.site, "bundle": manifest.bundle,
                    "signed": signed, **manifest.counts})  # fmt: skip
    else:
        counts = manifest.counts
        line("written", f"{to}: {counts['answers']} answers ({counts['blind']} blind), {counts['images']} images")
        for code, count in left_out.items():
            line("left out", f"{count} {code}")
        line("next", f"carry it to the workstation, there: {command_line('update', 'RUN', '--feedback', to)}")
    if set(left_out) - {"OTHER_BUNDLE"}:
        raise typer.Exit(1)


def _percent(value: Interval) -> str:
    if value.value != value.value:
        return "-"
    return f"{100 * value.value:.1f} % [{100 * value.low:.1f}, {100 * value.high:.1f}]"
