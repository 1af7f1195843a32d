"""What ``edgedx monitor`` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedx.cli.common import command_line, line, print_json, print_table, remark


def examination(found: dict[str, Any], out: Path, *, json: bool) -> None:
    """Light, window, streams that moved most, prevalence, accuracy."""
    from edgedx.device.monitor.examine import NOTES
    from edgedx.device.monitor.light import Light, prevalence_sentence

    if json:
        print_json(found)
        return
    light = Light(**found["light"])
    line(light.colour, " ".join(light.sentences()))
    window = found["window"]
    if window["images"]:
        line("window", f"{window['images']} images, {window['from']} to {window['to']}")
    _references(found)
    streams, charts = found["streams"], [one for one in found["charts"] if one["alarm"]]
    if streams:
        shown = [one for one in streams if one["alarm"]] or streams[:3]
        print_table(("stream", "against", "change", "noise", "p (Holm)", ""), [_row(one) for one in shown])
        if len(streams) > len(shown):
            line("others", f"{len(streams) - len(shown)} streams are within their noise, or too small a change: --json")
    for one in charts:
        moved = f"{_percent(one['now'])} now, {_percent(one['usual'])} usual, since {one['since']}"
        line("chart", f"{one['stream']} {one['direction']}: {moved}")
    for name, told in found["prevalence"].items():
        line("patients", prevalence_sentence("en", name, told))
    for name, told in (found["expected"] or {}).items():
        line("expected", f"{name}, from its own probabilities: {_both(told)}")
    for name, told in found["blind"].items():
        line("readers", f"{name}, {told['images']} blind reads: {_both(told)}")
    for note in found["notes"]:
        remark(f"note: {NOTES.get(note, note)}")
    if light.alarm:
        line("next", f"look at the images; where they are right, {command_line('monitor', out, '--as-usual')}")


def _references(found: dict[str, Any]) -> None:
    reference = found["reference"]
    made = "none" if reference["bundle"] is None else f"{reference['bundle']['images']} images"
    if reference["site"] is not None:
        site = f"{reference['site']['images']} images, until {reference['site']['until']}"
    elif found["window"]["images"]:
        site = f"not yet: {reference['site_images_needed']} more images"
    else:
        site = "not yet"
    line("compared", f"with the model's own: {made}; with this site's own: {site}")


def _row(one: dict[str, Any]) -> tuple[str, ...]:
    mark = "known" if one["known"] and not one["alarm"] else "ALARM" if one["alarm"] else ""
    return (one["stream"], one["against"], f"{one['effect']:.2f}", f"{one['floor']:.2f}", f"{one['p_holm']:.2g}", mark)


def _both(told: dict[str, Any]) -> str:
    parts = []
    for title in ("sensitivity", "specificity"):
        one = told[title]
        value = "-" if one["value"] is None else f"{one['value']:.2f}"
        parts.append(f"{title} {value} ({one['low']:.2f} to {one['high']:.2f})")
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
