"""What the clinic's commands print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer

from edgedx.cli.common import command_line, line, print_json, print_table, remark, tell


def opened(page: Any, *, json: bool) -> None:
    """Where a page is open; with TLS, its fingerprint and a code for a phone's camera."""
    if json:
        print_json(
            {
                "urls": page.urls,
                "fingerprint": page.certificate.fingerprint if page.certificate else None,
                "code": page.code or None,
            }
        )
        sys.stdout.flush()
        return
    line("open", page.urls[0])
    for url in page.urls[1:]:
        line("or", url)
    if page.certificate:
        _certificate(page)
    if page.code and sys.stderr.isatty():
        line("first", f"the first administrator is made there, with this code: {page.code[:5]}-{page.code[5:]}")
    elif page.code:  # not into a file that others may read
        line("first", "make the first administrator: edgedx page person NAME --role administrator --out OUT")
    line("stop", "Ctrl-C")
    sys.stdout.flush()


def _certificate(page: Any) -> None:
    from edgedx.device.page.door.certificate import terminal_code

    line("known by", f"SHA-256 {page.certificate.fingerprint}")
    if page.certificate.fresh:
        line("", "a new certificate: browsers warn of it once; compare this fingerprint before you go on")
    if sys.stdout.isatty():
        tell(terminal_code(page.urls[0], page.certificate.fingerprint))


def person(name: str, role: str | None) -> None:
    """Who was let in, or out."""
    line("removed" if role is None else role, name)


def new_pin() -> str:
    """A PIN, asked for twice, or the first line of stdin."""
    if sys.stdin.isatty():
        return str(typer.prompt("PIN (6 digits or more)", hide_input=True, confirmation_prompt=True))
    remark("PIN: read from stdin")
    return sys.stdin.readline().strip()


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
    _compared_with(found)
    streams, charts = found["streams"], [one for one in found["charts"] if one["alarm"]]
    if streams:
        shown = [one for one in streams if one["alarm"]] or streams[:3]
        print_table(("stream", "against", "change", "noise", "p (Holm)", ""), [_stream_row(one) for one in shown])
        if len(streams) > len(shown):
            line("others", f"{len(streams) - len(shown)} streams are within their noise, or too small a change: --json")
    for one in charts:
        moved = f"{_percent(one['now'])} now, {_percent(one['usual'])} usual, since {one['since']}"
        line("chart", f"{one['stream']} {one['direction']}: {moved}")
    for name, told in found["prevalence"].items():
        line("patients", prevalence_sentence("en", name, told))
    for name, told in (found["expected"] or {}).items():
        line("expected", f"{name}, from its own probabilities: {_accuracy(told)}")
    for name, told in found["blind"].items():
        line("readers", f"{name}, {told['images']} blind reads: {_accuracy(told)}")
    for note in found["notes"]:
        remark(f"note: {NOTES.get(note, note)}")
    if light.alarm:
        line("next", f"look at the images; where they are right, {command_line('monitor', out, '--as-usual')}")


def _compared_with(found: dict[str, Any]) -> None:
    reference = found["reference"]
    made = "none" if reference["bundle"] is None else f"{reference['bundle']['images']} images"
    if reference["site"] is not None:
        site = f"{reference['site']['images']} images, until {reference['site']['until']}"
    elif found["window"]["images"]:
        site = f"not yet: {reference['site_images_needed']} more images"
    else:
        site = "not yet"
    line("compared", f"with the model's own: {made}; with this site's own: {site}")


def _stream_row(one: dict[str, Any]) -> tuple[str, ...]:
    mark = "known" if one["known"] and not one["alarm"] else "ALARM" if one["alarm"] else ""
    return (one["stream"], one["against"], f"{one['effect']:.2f}", f"{one['floor']:.2f}", f"{one['p_holm']:.2g}", mark)


def _accuracy(told: dict[str, Any]) -> str:
    parts = []
    for title in ("sensitivity", "specificity"):
        one = told[title]
        value = "-" if one["value"] is None else f"{one['value']:.2f}"
        parts.append(f"{title} {value} ({one['low']:.2f} to {one['high']:.2f})")
    return ", ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
