"""The second half of ``edgedx deploy --to``: a finished bundle onto a device, and the table of what was found there."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from edgedx.lab.remote.push import Pushed
    from edgedx.lab.remote.wheelhouse import Wheelhouse


def push_bundle(
    bundle: Path,
    to: str,
    *,
    wheelhouse: Path | None,
    root: str,
    samples: Path | None,
    port: int | None,
    identity: Path | None,
    ssh_config: Path | None,
    python: str | None,
    pins: list[Path],
    install_options: list[str],
) -> Pushed:
    """Put `bundle` on the device `to`; without a wheelhouse, the one made for it before, or a new one."""
    from edgedx.core.bundle.manifest import open_bundle
    from edgedx.lab.remote.device_facts import probe
    from edgedx.lab.remote.push import push
    from edgedx.lab.remote.ssh import Remote
    from edgedx.lab.remote.wheelhouse import read_wheelhouse

    house = read_wheelhouse(wheelhouse) if wheelhouse else None
    profile = open_bundle(bundle).manifest.profile

    def tell(text: str) -> None:
        typer.echo(f"{to}: {text}", err=True)

    with Remote(to, port=port, identity=identity, ssh_config=ssh_config) as remote:
        tell("ask what it is")
        facts = probe(remote, root, house.target.python if house else python)
        house = house or _house_for(profile, facts.python, facts.glibc)
        return push(
            remote, bundle, house, facts, samples=samples, pins=pins, install_options=install_options, tell=tell
        )


def _house_for(profile_name: str, python: str, glibc: tuple[int, int] | None) -> Wheelhouse:
    from edgedx._version import __version__
    from edgedx.core.settings.profile import load_profile
    from edgedx.lab.remote.wheel_target import wheel_target
    from edgedx.lab.remote.wheelhouse import RECORD, make_wheelhouse, read_wheelhouse

    profile = load_profile(profile_name)
    folder = Path("wheelhouse") / f"{profile.name}-py{python.replace('.', '')}"
    if (folder / RECORD).is_file():
        house = read_wheelhouse(folder)
        if house.record["edgedx"] == __version__:
            typer.echo(f"wheelhouse {folder}, made before", err=True)
            return house
    usual = wheel_target(profile, python).glibc
    least = min(usual, glibc) if glibc else usual
    typer.echo(f"no --wheelhouse: making {folder}", err=True)
    return make_wheelhouse(profile, folder, python=python, glibc=f"{least[0]}.{least[1]}", overwrite=True)


def as_document(done: Pushed) -> dict[str, Any]:
    """All that was found, as JSON; NaN becomes null."""
    return {"schema_version": 1, **asdict(done), "verdict": done.verdict.to_dict() if done.verdict else None}


def print_table(done: Pushed) -> None:
    """One line for each thing found on the device."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in _rows(done):
        table.add_row(Text(name), Text(value))
    Console().print(table)


def _rows(done: Pushed) -> list[tuple[str, str]]:
    facts, verdict = done.facts, done.verdict
    warnings = [item["name"] for item in done.doctor["findings"] if item["status"] == "warning"]
    rows = [
        ("device", f"{done.host}: {done.latency['machine']}, Python {facts.python}, {facts.arch}"),
        (
            "doctor",
            f"fit, profile {done.doctor['profile']}" + (f"; warns of {', '.join(warnings)}" if warnings else ""),
        ),
        ("bundle", f"{done.installed['name']}, {done.installed['variant']}, digest {done.installed['digest'][:16]}"),
        ("signed by", done.installed["signed_by"] or "NOBODY that the device trusts"),
        ("golden samples", f"logits differ by {done.installed['golden_difference']:.2g} at most"),
        ("latency P50", f"{done.latency['p50_ms']:.2f} ms, inference of one image ({done.latency['provider']})"),
    ]
    if verdict:
        rows += [
            ("labelled samples", f"{verdict.answered} of {verdict.samples} answered"),
            *((f"{name} there", f"{here}; the bundle promises {promised}") for name, here, promised in verdict.rows()),
            ("P50 with decoding", f"{verdict.image_ms:.1f} ms an image, {verdict.infer_ms:.2f} ms of it inference"),
            ("gate", f"{'passed' if verdict.passed else 'NO'}: {verdict.sentence}"),
        ]
    if done.rolled_back:
        rows.append(("active again", done.rolled_back))
    steps = ", ".join(f"{name} {seconds:.1f}" for name, seconds in done.seconds.items() if name != "total")
    rows += [
        ("ready in", f"{done.seconds['total']:.1f} s ({steps}); {done.sent_bytes / 1e6:.1f} MB sent"),
        ("next, there", f"{facts.root}/venv/bin/edgedx scan INBOX --bundle {facts.root}/bundle/current --out OUT"),
    ]
    return rows
